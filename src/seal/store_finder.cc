// SPDX-License-Identifier: Apache-2.0
#include "seal/store_finder.h"

#include <memory>
#include <optional>

namespace bulkhead {
namespace {

// Two superblocks may be bad for different reasons (one was torn, say): which tells more?
int telling(Errc code) {
  switch (code) {
    case Errc::kPermission:
      return 5;
    case Errc::kInvalidArgument:
      return 4;
    case Errc::kUnsupported:
      return 3;
    case Errc::kIo:
      return 2;
    case Errc::kMalformed:
      return 1;
    default:
      return 0;
  }
}

Result<FoundStore> read_superblock(const SealedStoreOptions& options,
                                   const SecretBytes& partition_key, std::uint64_t parity) {
  const auto bytes = std::make_unique<SuperblockBytes>();
  TRY(options.medium.read_at(superblock_offset(parity), *bytes));
  const SealScope claimed = TRY(read_scope(*bytes));
  const SealScope wanted{options.purpose, options.store.value_or(claimed.store)};
  SuperblockKeys keys = TRY(SuperblockKeys::derive(partition_key, wanted));
  const VerifiedSuperblock superblock = TRY(decode_superblock(*bytes, wanted, keys));
  if (superblock.content.generation % 2 != parity) {
    return Error{Errc::kMalformed, 0, "a superblock lies where it does not belong"};
  }
  return FoundStore{wanted, std::move(keys), superblock};
}

}  // namespace

Result<FoundStore> find_store(const SealedStoreOptions& options, const SecretBytes& partition_key) {
  auto even = read_superblock(options, partition_key, 0);
  auto odd = read_superblock(options, partition_key, 1);
  if (!even && !odd) {
    return telling(even.error().code) >= telling(odd.error().code) ? even.error() : odd.error();
  }
  if (!even) return odd;
  if (!odd) return even;
  if (even->scope.store != odd->scope.store ||
      even->superblock.content.page_count != odd->superblock.content.page_count) {
    return Error{Errc::kMalformed, 0, "the superblocks are of two stores"};
  }
  const bool even_is_newer =
      even->superblock.content.generation > odd->superblock.content.generation;
  return even_is_newer ? std::move(even) : std::move(odd);
}

bool holds_a_store(Medium& medium) {
  SuperblockBytes bytes;
  for (std::uint64_t parity = 0; parity < 2; ++parity) {
    if (!medium.read_at(superblock_offset(parity), bytes)) continue;
    const auto scope = read_scope(bytes);
    if (scope || scope.error().code == Errc::kUnsupported) return true;
  }
  return false;
}

Result<bool> check_anchor(const AnchorMark& store, const AnchorMark& anchor) {
  if (store == anchor) return false;
  if (store.generation < anchor.generation) {
    return Error{Errc::kRolledBack, 0, "the store is older than its anchor: rolled back"};
  }
  if (store.generation == anchor.generation) {
    return Error{Errc::kRolledBack, 0, "the store's state was never completed, another one was"};
  }
  if (store.generation - anchor.generation > 1) {
    return Error{Errc::kRolledBack, 0, "the anchor is older than the store: rolled back"};
  }
  return true;
}

}  // namespace bulkhead
