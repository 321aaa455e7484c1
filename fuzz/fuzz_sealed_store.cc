// SPDX-License-Identifier: Apache-2.0
// A hostile medium under a store of sealed pages: bytes changed, blocks moved, and, for what lies
// behind the MACs, nodes and superblocks that whoever has the key signed. Pages are then read, put
// and committed. Whatever the input, a page is one that was put, or an error.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/byte_reader.h"
#include "base/check.h"
#include "seal/sealed_store.h"
#include "seal/store_for_test.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kPages = 300;  // three leaves and a root
constexpr std::uint64_t kFirstBlock = kSuperblocksBytes / kPageSize;

// Made once: every input damages a copy of it.
struct Original {
  Original() {
    auto store = SealedStore::create(options_for_test(medium, key, nullptr, kPages)).value();
    for (std::uint64_t round = 0; round < 2; ++round) {
      for (std::uint64_t i = 0; i < 6; ++i) CHECK(store->put(PageIndex(i * 50), page_of(i + 1)));
      CHECK(store->commit());
    }
    scope = {kMemoryPurpose, store->id()};
    generation = store->stats().generation;
    blocks = store->stats().stored_bytes / kPageSize + 8;
  }

  TestMedium medium;
  TestKey key;
  SealScope scope{kMemoryPurpose, StoreId()};
  std::uint64_t generation = 0;
  std::uint64_t blocks = 0;
};

class Attack {
 public:
  explicit Attack(Original& original)
      : original_(original), medium_(original.medium.bytes), secret_(original.key.key().value()) {}

  Result<void> step(ByteReader& input);
  void open_and_use();

 private:
  Result<void> change_bytes(ByteReader& input);
  Result<void> move_block(ByteReader& input);
  Result<void> sign_superblock(ByteReader& input);
  Result<void> sign_root(ByteReader& input);
  Result<void> sign(const Superblock& content);
  std::span<std::byte, Superblock::kBytes> superblock() {
    return std::span(medium_.bytes)
        .subspan(superblock_offset(original_.generation))
        .first<Superblock::kBytes>();
  }
  Result<Superblock> content() {
    const auto keys = TRY(SuperblockKeys::derive(secret_, original_.scope));
    return TRY(decode_superblock(superblock(), original_.scope, keys)).content;
  }

  Original& original_;
  TestMedium medium_;
  SecretBytes secret_;
};

Result<void> Attack::change_bytes(ByteReader& input) {
  const auto at = TRY(input.read<std::uint32_t>()) % medium_.bytes.size();
  const auto length = TRY(input.read<std::uint8_t>());
  const auto bytes = TRY(input.take(std::min<std::size_t>(length, medium_.bytes.size() - at)));
  std::ranges::copy(bytes, medium_.bytes.begin() + static_cast<std::ptrdiff_t>(at));
  return {};
}

Result<void> Attack::move_block(ByteReader& input) {
  const auto source = kFirstBlock + TRY(input.read<std::uint8_t>()) % original_.blocks;
  const auto target = kFirstBlock + TRY(input.read<std::uint8_t>()) % original_.blocks;
  std::copy_n(medium_.bytes.begin() + static_cast<std::ptrdiff_t>(source * kPageSize), kPageSize,
              medium_.bytes.begin() + static_cast<std::ptrdiff_t>(target * kPageSize));
  return {};
}

Result<void> Attack::sign(const Superblock& changed) {
  const auto keys = TRY(SuperblockKeys::derive(secret_, original_.scope));
  TRY(encode_superblock(changed, original_.scope, keys, superblock()));
  return {};
}

Result<void> Attack::sign_superblock(ByteReader& input) {
  Superblock changed = TRY(content());
  const auto value = TRY(input.read<std::uint64_t>());
  switch (TRY(input.read<std::uint8_t>()) % 4) {
    case 0:
      changed.page_count = value;
      break;
    case 1:
      changed.end_bytes = value;
      break;
    case 2:
      changed.sessions[value % kMaxSessions].live = value >> 8;
      break;
    default:
      changed.root = TreeEntry(changed.root.session(), SlotIndex(value >> 16),
                               static_cast<PageKind>(value % 6), changed.root.seal());
  }
  return sign(changed);
}

Result<void> Attack::sign_root(ByteReader& input) {
  Superblock changed = TRY(content());
  const auto salt = changed.sessions[changed.root.session() % kMaxSessions].salt;
  auto sealer =
      TRY(PageSealer::create({.partition_key = secret_, .scope = original_.scope, .salt = salt}));
  const std::uint64_t at = changed.root.slot().offset_bytes();
  if (!range_fits(at, kPageSize, medium_.bytes.size())) return {};
  const std::span block = std::span(medium_.bytes).subspan(at).first<kPageSize>();
  TreeNode node;
  const SealPlace place = SealPlace::node(2, 0);
  TRY(sealer->open({place, PageKind::kPlain, block}, changed.root.seal(), node.bytes()));
  const auto offset = TRY(input.read<std::uint16_t>()) % kPageSize;
  const auto length = std::min<std::size_t>(TRY(input.read<std::uint8_t>()), kPageSize - offset);
  std::ranges::copy(TRY(input.take(length)), node.bytes().subspan(offset).begin());
  const PageSeal seal = TRY(sealer->seal({place, PageKind::kPlain, node.bytes()}, block));
  changed.root = TreeEntry(changed.root.session(), changed.root.slot(), PageKind::kPlain, seal);
  return sign(changed);
}

Result<void> Attack::step(ByteReader& input) {
  switch (TRY(input.read<std::uint8_t>()) % 6) {
    case 0:
      return change_bytes(input);
    case 1:
      return move_block(input);
    case 2:
      return sign_superblock(input);
    case 3:
      return sign_root(input);
    case 4:
      medium_.bytes.resize(TRY(input.read<std::uint32_t>()) % (medium_.bytes.size() + 1));
      return medium_.bytes.empty() ? medium_.grow(1) : Result<void>();
    default:
      medium_.quota = medium_.bytes.size();
      return {};
  }
}

void Attack::open_and_use() {
  auto store = SealedStore::open(options_for_test(medium_, original_.key));
  if (!store) return;
  for (std::uint64_t i = 0; i < std::min<std::uint64_t>((*store)->page_count(), kPages); i += 25) {
    const auto page = read_page(**store, i);
    CHECK(!page || *page == page_of(0) || (i % 50 == 0 && *page == page_of(i / 50 + 1)));
  }
  if (!(*store)->put(PageIndex(1), page_of(99))) return;
  CHECK(read_page(**store, 1).value() == page_of(99));
  if (!(*store)->commit()) return;
  store->reset();
  auto again = SealedStore::open(options_for_test(medium_, original_.key));
  CHECK(again && read_page(**again, 1).value() == page_of(99));
}

}  // namespace
}  // namespace bulkhead

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bulkhead;
  static Original original;
  Attack attack(original);
  ByteReader input(std::as_bytes(std::span(data, size)));
  // A step that fails is one that the store's own checks make impossible.
  for (int steps = 0; steps < 16 && !input.empty(); ++steps) (void)attack.step(input);
  attack.open_and_use();
  return 0;
}
