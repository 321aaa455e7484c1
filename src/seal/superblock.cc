// SPDX-License-Identifier: Apache-2.0
#include "seal/superblock.h"

#include <algorithm>
#include <bit>
#include <string_view>

#include "base/byte_reader.h"
#include "crypto/kdf.h"
#include "seal/key_derivation.h"

namespace bulkhead {
namespace {

constexpr std::string_view kMagic = "BLKHSEAL";
// Offsets of docs/formats/sealed.md.
constexpr std::size_t kVersionAt = 8;
constexpr std::size_t kStoreAt = 16;
constexpr std::size_t kPurposeAt = 32;
constexpr std::size_t kCheckAt = 48;
constexpr std::size_t kCheckBytes = 16;
constexpr std::size_t kPageCountAt = 64;
constexpr std::size_t kGenerationAt = 72;
constexpr std::size_t kEndAt = 80;
constexpr std::size_t kRootAt = 96;
constexpr std::size_t kSessionsAt = 256;
constexpr std::size_t kSessionBytes = 32;
constexpr std::size_t kLiveAt = 16;  // in a session's record
constexpr std::size_t kTagAt = Superblock::kBytes - sizeof(Sha256Digest);
static_assert(kSessionsAt + kMaxSessions * kSessionBytes <= kTagAt);

using RootBytes = std::array<std::byte, sizeof(TreeEntry)>;

Error damaged() {
  return Error{Errc::kMalformed, 0, "the store's superblocks are damaged"};
}

Result<Superblock> parse(std::span<const std::byte> bytes) {
  Superblock block;
  block.page_count = get_le<std::uint64_t>(bytes, kPageCountAt);
  block.generation = get_le<std::uint64_t>(bytes, kGenerationAt);
  block.end_bytes = get_le<std::uint64_t>(bytes, kEndAt);
  if (block.page_count == 0 || block.page_count > TreeShape::kMaxPages || block.generation == 0 ||
      block.end_bytes < kSuperblocksBytes) {
    return damaged();
  }
  RootBytes root;
  std::ranges::copy(bytes.subspan(kRootAt, root.size()), root.begin());
  block.root = std::bit_cast<TreeEntry>(root);
  for (std::size_t i = 0; i < kMaxSessions; ++i) {
    const auto record = bytes.subspan(kSessionsAt + i * kSessionBytes).first<kSessionBytes>();
    block.sessions[i].salt = SessionSalt(record.first<SessionSalt::kBytes>());
    block.sessions[i].live = get_le<std::uint64_t>(record, kLiveAt);
  }
  return block;
}

}  // namespace

Result<SuperblockKeys> SuperblockKeys::derive(const SecretBytes& partition_key,
                                              const SealScope& scope) {
  return SuperblockKeys{TRY(derive_seal_key(partition_key, scope, KeyRole::kSuperblock)),
                        TRY(derive_seal_key(partition_key, scope, KeyRole::kCheck))};
}

Result<SealScope> read_scope(std::span<const std::byte> bytes) {
  if (bytes.size() < kCheckAt) return Error{Errc::kTruncated, 0, "the store ends too early"};
  if (!std::ranges::equal(bytes.first(kMagic.size()), std::as_bytes(std::span(kMagic)))) {
    return Error{Errc::kMalformed, 0, "this is not a store of sealed pages"};
  }
  if (get_le<std::uint32_t>(bytes, kVersionAt) != Superblock::kVersion) {
    return Error{Errc::kUnsupported, 0, "the store has a format of another version"};
  }
  return SealScope{Purpose(bytes.subspan<kPurposeAt, Purpose::kBytes>()),
                   StoreId(bytes.subspan<kStoreAt, StoreId::kBytes>())};
}

Result<Sha256Digest> encode_superblock(const Superblock& superblock, const SealScope& scope,
                                       const SuperblockKeys& keys,
                                       std::span<std::byte, Superblock::kBytes> bytes) {
  std::ranges::fill(bytes, std::byte{0});
  const auto copy_to = [bytes](std::size_t offset, std::span<const std::byte> part) {
    std::ranges::copy(part, bytes.subspan(offset).begin());
  };
  copy_to(0, std::as_bytes(std::span(kMagic)));
  put_le(bytes, kVersionAt, Superblock::kVersion);
  copy_to(kStoreAt, scope.store.bytes());
  copy_to(kPurposeAt, scope.purpose.bytes());
  copy_to(kCheckAt, keys.check.bytes().first(kCheckBytes));
  put_le(bytes, kPageCountAt, superblock.page_count);
  put_le(bytes, kGenerationAt, superblock.generation);
  put_le(bytes, kEndAt, superblock.end_bytes);
  copy_to(kRootAt, std::bit_cast<RootBytes>(superblock.root));
  for (std::size_t i = 0; i < kMaxSessions; ++i) {
    copy_to(kSessionsAt + i * kSessionBytes, superblock.sessions[i].salt.bytes());
    put_le(bytes, kSessionsAt + i * kSessionBytes + kLiveAt, superblock.sessions[i].live);
  }
  const Sha256Digest tag = TRY(hmac_sha256(keys.mac.bytes(), {bytes.first<kTagAt>()}));
  copy_to(kTagAt, tag);
  return tag;
}

Result<VerifiedSuperblock> decode_superblock(std::span<const std::byte, Superblock::kBytes> bytes,
                                             const SealScope& scope, const SuperblockKeys& keys) {
  const SealScope found = TRY(read_scope(bytes));
  if (found.store != scope.store || found.purpose != scope.purpose) {
    return Error{Errc::kInvalidArgument, 0, "the store is another one, or for another purpose"};
  }
  if (!constant_time_equal(bytes.subspan<kCheckAt, kCheckBytes>(),
                           keys.check.bytes().first(kCheckBytes))) {
    return Error{Errc::kPermission, 0, "the key is not this store's"};
  }
  VerifiedSuperblock verified;
  verified.tag = TRY(hmac_sha256(keys.mac.bytes(), {bytes.first<kTagAt>()}));
  if (!constant_time_equal(verified.tag, bytes.subspan<kTagAt>())) return damaged();
  verified.content = TRY(parse(bytes));
  return verified;
}

}  // namespace bulkhead
