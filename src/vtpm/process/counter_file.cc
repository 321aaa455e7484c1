// SPDX-License-Identifier: Apache-2.0
#include "vtpm/process/counter_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/byte_reader.h"
#include "crypto/kdf.h"
#include "seal/file_io.h"
#include "seal/key_derivation.h"

namespace bulkhead::vtpm {
namespace {

constexpr std::string_view kMagic = "BLKHTPC1";
// Offsets of docs/formats/vtpm.md.
constexpr std::size_t kStoreAt = 8;
constexpr std::size_t kGenerationAt = 24;
constexpr std::size_t kTagAt = 32;
constexpr std::size_t kMacAt = 64;
constexpr std::size_t kRecordBytes = 96;
constexpr std::uint64_t kSlots = 2;
constexpr std::uint64_t kSlotBytes = kPageSize;  // a torn write harms one record only
using RecordBytes = std::array<std::byte, kRecordBytes>;

Result<Sha256Digest> mac_of(const SecretBytes& key, const RecordBytes& bytes) {
  return hmac_sha256(key.bytes(), {std::span(bytes).first(kMacAt)});
}

}  // namespace

Result<CounterFile> CounterFile::create(Fd fd, const SecretBytes& state_key) {
  // Not bound to a store: the record says which one it is about.
  const SealScope scope{Purpose("vtpm-counter"), StoreId()};
  return CounterFile(std::move(fd), TRY(derive_seal_key(state_key, scope, KeyRole::kAnchor)));
}

Result<bool> CounterFile::empty() const {
  struct stat status{};
  if (::fstat(fd_.get(), &status) != 0) return os_error("cannot read the TPM's counter");
  return status.st_size == 0;
}

// Nothing if the slot holds no whole record.
Result<std::optional<CounterFile::Record>> CounterFile::read_record(std::uint64_t slot) const {
  RecordBytes bytes{};
  const std::size_t got = TRY(read_at_most(fd_.get(), slot * kSlotBytes, bytes));
  const std::span<const std::byte> all(bytes);
  if (got != kRecordBytes ||
      !std::ranges::equal(all.first(kMagic.size()), std::as_bytes(std::span(kMagic))) ||
      !constant_time_equal(TRY(mac_of(key_, bytes)), all.subspan(kMacAt))) {
    return std::optional<Record>();
  }
  Record record{.store = StoreId(std::span(bytes).subspan<kStoreAt, StoreId::kBytes>()),
                .mark = {.generation = get_le<std::uint64_t>(all, kGenerationAt), .tag = {}}};
  std::ranges::copy(all.subspan(kTagAt, record.mark.tag.size()), record.mark.tag.begin());
  return std::optional(record);
}

Result<AnchorMark> CounterFile::newest(const StoreId& store) {
  std::optional<Record> newest;
  for (std::uint64_t slot = 0; slot < kSlots; ++slot) {
    const std::optional<Record> record = TRY(read_record(slot));
    if (!record) continue;
    if (!newest || record->mark.generation > newest->mark.generation) newest = record;
  }
  if (!newest && TRY(empty())) {
    return Error{Errc::kNotFound, 0, "the TPM's counter is missing"};
  }
  if (!newest) {
    return Error{Errc::kMalformed, 0, "the TPM's counter was changed, or has another key"};
  }
  if (newest->store != store) {
    return Error{Errc::kRolledBack, 0, "the TPM's counter is another state's"};
  }
  return newest->mark;
}

Result<void> CounterFile::advance(const StoreId& store, const AnchorMark& mark) {
  const auto before = newest(store);
  if (before && mark.generation <= before->generation) {
    return Error{Errc::kRolledBack, 0, "a TPM's counter does not go back"};
  }
  // Missing is how it begins; anything else must not be papered over.
  if (!before && before.error().code != Errc::kNotFound) return before.error();
  RecordBytes bytes{};
  const std::span all(bytes);
  std::ranges::copy(std::as_bytes(std::span(kMagic)), all.begin());
  std::ranges::copy(store.bytes(), all.subspan(kStoreAt).begin());
  put_le(bytes, kGenerationAt, mark.generation);
  std::ranges::copy(mark.tag, all.subspan(kTagAt).begin());
  std::ranges::copy(TRY(mac_of(key_, bytes)), all.subspan(kMacAt).begin());
  TRY(write_exactly(fd_.get(), mark.generation % kSlots * kSlotBytes, bytes));
  if (::fdatasync(fd_.get()) != 0) return os_error("cannot sync the TPM's counter");
  return {};
}

Result<void> CounterFile::forget(const StoreId&) {
  return Error{Errc::kUnsupported, 0, "the TPM's counter is another process's to remove"};
}

}  // namespace bulkhead::vtpm
