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

constexpr std::string_view kMagic = "BLKHTPC2";
// Offsets of docs/formats/vtpm.md.
constexpr std::size_t kStoreAt = 8;
constexpr std::size_t kGenerationAt = 24;
constexpr std::size_t kTagAt = 32;
constexpr std::size_t kIndexAt = 64;
constexpr std::size_t kValueAt = 72;
constexpr std::size_t kMacAt = 80;
constexpr std::size_t kRecordBytes = 112;
constexpr std::uint64_t kSlotBytes = kPageSize;  // a torn write harms one record only
using RecordBytes = std::array<std::byte, kRecordBytes>;

Result<Sha256Digest> mac_of(const SecretBytes& key, const RecordBytes& bytes) {
  return hmac_sha256(key.bytes(), {std::span(bytes).first(kMacAt)});
}

}  // namespace

Result<CounterFile> CounterFile::create(Fd fd, const SecretBytes& state_key, HostCounter* host) {
  // Not bound to a store: the record says which one it is about.
  const SealScope scope{Purpose("vtpm-counter"), StoreId()};
  return CounterFile(std::move(fd), TRY(derive_seal_key(state_key, scope, KeyRole::kAnchor)), host);
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
  Record record{.slot = slot,
                .store = StoreId(std::span(bytes).subspan<kStoreAt, StoreId::kBytes>()),
                .mark = {.generation = get_le<std::uint64_t>(all, kGenerationAt), .tag = {}},
                .counter = {.index = get_le<std::uint32_t>(all, kIndexAt),
                            .value = get_le<std::uint64_t>(all, kValueAt)}};
  std::ranges::copy(all.subspan(kTagAt, record.mark.tag.size()), record.mark.tag.begin());
  return std::optional(record);
}

Result<void> CounterFile::write_record(const Record& record) const {
  RecordBytes bytes{};
  const std::span all(bytes);
  std::ranges::copy(std::as_bytes(std::span(kMagic)), all.begin());
  std::ranges::copy(record.store.bytes(), all.subspan(kStoreAt).begin());
  put_le(bytes, kGenerationAt, record.mark.generation);
  std::ranges::copy(record.mark.tag, all.subspan(kTagAt).begin());
  put_le(bytes, kIndexAt, record.counter.index);
  put_le(bytes, kValueAt, record.counter.value);
  std::ranges::copy(TRY(mac_of(key_, bytes)), all.subspan(kMacAt).begin());
  TRY(write_exactly(fd_.get(), record.slot * kSlotBytes, bytes));
  if (::fdatasync(fd_.get()) != 0) return os_error("cannot sync the TPM's counter");
  return {};
}

// The record that the host's TPM has counted. A newer one was written just before it would have
// been; all others are older.
Result<CounterFile::Record> CounterFile::counted(const Records& records,
                                                 std::uint32_t index) const {
  if (host_ == nullptr) {
    return Error{Errc::kClosed, 0, "the host's TPM counts this state, and cannot be asked"};
  }
  const CounterValue now = TRY(host_->read(index));
  for (const auto& record : records) {
    if (record && record->counter == now) return *record;
  }
  return Error{Errc::kRolledBack, 0, "the TPM's counter file is not the newest"};
}

Result<CounterFile::Record> CounterFile::newest_record(const StoreId& store) const {
  Records records;
  std::optional<Record> newest;
  for (std::uint64_t slot = 0; slot < kSlots; ++slot) {
    records[slot] = TRY(read_record(slot));
    if (!records[slot]) continue;
    if (!newest || records[slot]->mark.generation > newest->mark.generation) newest = records[slot];
  }
  if (!newest && TRY(empty())) {
    return Error{Errc::kNotFound, 0, "the TPM's counter is missing"};
  }
  if (!newest) {
    return Error{Errc::kMalformed, 0, "the TPM's counter was changed, or has another key"};
  }
  if (newest->counter.index != 0) newest = TRY(counted(records, newest->counter.index));
  if (newest->store != store) {
    return Error{Errc::kRolledBack, 0, "the TPM's counter is another state's"};
  }
  return *newest;
}

Result<AnchorMark> CounterFile::newest(const StoreId& store) {
  return TRY(newest_record(store)).mark;
}

Result<void> CounterFile::begin(const StoreId& store, const AnchorMark& mark) const {
  Record first{.store = store, .mark = mark, .counter = {}};
  if (host_ != nullptr) {
    const Result<CounterValue> made = host_->make();
    if (!made && made.error().code != Errc::kNotFound) return made.error();
    if (made) first.counter = *made;
  }
  return write_record(first);
}

// Written first, counted then: what is cut off between is the old mark still.
Result<void> CounterFile::advance(const StoreId& store, const AnchorMark& mark) {
  const Result<Record> before = newest_record(store);
  // Missing is how it begins; anything else must not be papered over.
  if (!before && before.error().code == Errc::kNotFound) return begin(store, mark);
  if (!before) return before.error();
  if (before->mark == mark) return {};  // counted, but the TPM's answer was lost
  if (mark.generation <= before->mark.generation) {
    return Error{Errc::kRolledBack, 0, "a TPM's counter does not go back"};
  }
  Record next{.slot = (before->slot + 1) % kSlots,
              .store = store,
              .mark = mark,
              .counter = before->counter};
  if (next.counter.index == 0) return write_record(next);
  ++next.counter.value;
  TRY(write_record(next));
  if (TRY(host_->step(next.counter.index)) == next.counter) return {};
  return Error{Errc::kRolledBack, 0, "somebody else has the TPM's counter count"};
}

Result<void> CounterFile::forget(const StoreId&) {
  return Error{Errc::kUnsupported, 0, "the TPM's counter is another process's to remove"};
}

}  // namespace bulkhead::vtpm
