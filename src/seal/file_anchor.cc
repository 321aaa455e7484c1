// SPDX-License-Identifier: Apache-2.0
#include "seal/file_anchor.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string_view>

#include "base/byte_reader.h"
#include "base/fd.h"
#include "crypto/kdf.h"
#include "seal/file_io.h"
#include "seal/key_derivation.h"

namespace bulkhead {
namespace {

constexpr std::string_view kMagic = "BLKHANC1";
// Offsets of docs/formats/sealed.md.
constexpr std::size_t kStoreAt = 8;
constexpr std::size_t kGenerationAt = 24;
constexpr std::size_t kTagAt = 32;
constexpr std::size_t kMacAt = 64;
constexpr std::size_t kFileBytes = 96;
using AnchorBytes = std::array<std::byte, kFileBytes>;

Result<Sha256Digest> mac_of(const SecretBytes& key, const AnchorBytes& bytes) {
  return hmac_sha256(key.bytes(), {std::span(bytes).first(kMacAt)});
}

Result<AnchorBytes> encode(const SecretBytes& key, const StoreId& store, const AnchorMark& mark) {
  AnchorBytes bytes{};
  const std::span all(bytes);
  std::ranges::copy(std::as_bytes(std::span(kMagic)), all.begin());
  std::ranges::copy(store.bytes(), all.subspan(kStoreAt).begin());
  put_le(bytes, kGenerationAt, mark.generation);
  std::ranges::copy(mark.tag, all.subspan(kTagAt).begin());
  std::ranges::copy(TRY(mac_of(key, bytes)), all.subspan(kMacAt).begin());
  return bytes;
}

// A file that exists under its name only when it is whole.
Result<void> replace_file(const std::string& path, std::span<const std::byte> bytes) {
  std::string temporary = path + ".XXXXXX";
  const Fd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd.valid()) return os_error("cannot write the anchor");
  auto written = write_exactly(fd.get(), 0, bytes);
  if (written && ::fsync(fd.get()) != 0) written = os_error("cannot sync the anchor");
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) {
    written = os_error("cannot replace the anchor");
  }
  if (!written) {
    ::unlink(temporary.c_str());
    return written;
  }
  return sync_directory_of(path);
}

}  // namespace

Result<FileAnchor> FileAnchor::create(std::string path, const SecretBytes& partition_key) {
  // Not bound to a store: the file says which one it is about.
  const SealScope scope{Purpose("anchor"), StoreId()};
  SecretBytes key = TRY(derive_seal_key(partition_key, scope, KeyRole::kAnchor));
  return FileAnchor(std::move(path), std::move(key));
}

Result<AnchorMark> FileAnchor::newest(const StoreId& store) {
  auto opened = Fd::open(path_.c_str(), O_RDONLY);
  if (!opened && opened.error().code == Errc::kNotFound) {
    return Error{Errc::kNotFound, 0, "the store's anchor is missing"};
  }
  const Fd fd = TRY(std::move(opened));
  AnchorBytes bytes;
  TRY(read_exactly(fd.get(), 0, bytes));
  const std::span<const std::byte> all(bytes);
  if (!std::ranges::equal(all.first(kMagic.size()), std::as_bytes(std::span(kMagic)))) {
    return Error{Errc::kMalformed, 0, "the anchor is no anchor"};
  }
  if (!constant_time_equal(TRY(mac_of(key_, bytes)), all.subspan(kMacAt))) {
    return Error{Errc::kMalformed, 0, "the anchor was changed, or has another key"};
  }
  if (StoreId(std::span(bytes).subspan<kStoreAt, StoreId::kBytes>()) != store) {
    return Error{Errc::kNotFound, 0, "the anchor is another store's"};
  }
  AnchorMark mark{.generation = get_le<std::uint64_t>(all, kGenerationAt), .tag = {}};
  std::ranges::copy(all.subspan(kTagAt, mark.tag.size()), mark.tag.begin());
  return mark;
}

Result<void> FileAnchor::advance(const StoreId& store, const AnchorMark& mark) {
  const auto before = newest(store);
  if (before && mark.generation <= before->generation) {
    return Error{Errc::kRolledBack, 0, "an anchor does not go back"};
  }
  // Missing is how it begins; anything else must not be papered over.
  if (!before && ::access(path_.c_str(), F_OK) == 0) return before.error();
  return replace_file(path_, TRY(encode(key_, store, mark)));
}

Result<void> FileAnchor::forget(const StoreId& store) {
  TRY(newest(store));
  if (::unlink(path_.c_str()) != 0) return os_error("cannot remove the anchor");
  return sync_directory_of(path_);
}

}  // namespace bulkhead
