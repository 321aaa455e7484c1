// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/result.h"
#include "crypto/digest.h"
#include "seal/session_table.h"
#include "seal/tree_entry.h"

namespace bulkhead {

// A committed state of a store: all that cannot be found by walking its tree.
struct Superblock {
  static constexpr std::size_t kBytes = 16 * kKiB;
  static constexpr std::uint32_t kVersion = 1;

  std::uint64_t page_count = 0;
  std::uint64_t generation = 0;
  std::uint64_t end_bytes = 0;  // behind the last block
  TreeEntry root;
  SessionRecords sessions;
};
using SuperblockBytes = std::array<std::byte, Superblock::kBytes>;

// Where the superblock of a generation lies: two take turns, so that one of them is always whole.
constexpr std::uint64_t superblock_offset(std::uint64_t generation) {
  return generation % 2 * Superblock::kBytes;
}
inline constexpr std::uint64_t kSuperblocksBytes = 2 * Superblock::kBytes;

// The part that never changes, and which can be read without a key.
Result<SealScope> read_scope(std::span<const std::byte> bytes);

struct SuperblockKeys {
  static Result<SuperblockKeys> derive(const SecretBytes& partition_key, const SealScope& scope);

  SecretBytes mac;
  SecretBytes check;  // tells a wrong key from a damaged superblock
};
// Writes the whole superblock, with its tag, which is returned as well.
Result<Sha256Digest> encode_superblock(const Superblock& superblock, const SealScope& scope,
                                       const SuperblockKeys& keys,
                                       std::span<std::byte, Superblock::kBytes> bytes);

struct VerifiedSuperblock {
  Superblock content;
  Sha256Digest tag{};
};
// kUnsupported: another version. kInvalidArgument: another store or purpose. kPermission: another
// key. kMalformed: no superblock, or a changed one.
Result<VerifiedSuperblock> decode_superblock(std::span<const std::byte, Superblock::kBytes> bytes,
                                             const SealScope& scope, const SuperblockKeys& keys);

}  // namespace bulkhead
