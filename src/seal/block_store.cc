// SPDX-License-Identifier: Apache-2.0
#include "seal/block_store.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "base/byte_reader.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kMinGrowthUnits = 64;  // a word of the slot map
constexpr std::uint64_t kFirstGrowthUnits = 1 * kMiB / kSlotUnit;
constexpr std::uint64_t kMaxGrowthUnits = 1 * kGiB / kSlotUnit;
// How far to look for a free place before the medium is made larger instead.
constexpr std::uint64_t kShortSearch = 1024;

using Buffer = std::array<std::byte, kPageSize>;

std::uint64_t units_of(PageKind kind) {
  return stored_bytes(kind) / kSlotUnit;
}

// Packs into `buffer` behind a length, padded with zeroes to the smallest size that holds it.
PageKind pack(PageCodec& codec, ConstPageBytes page, Buffer& buffer) {
  constexpr std::size_t kHeader = sizeof(std::uint16_t);
  const std::size_t most = stored_bytes(PageKind::kPacked2K);
  const std::size_t length = codec.pack(page, std::span(buffer).subspan(kHeader, most - kHeader));
  if (length == 0) return PageKind::kPlain;
  put_le(buffer, 0, static_cast<std::uint16_t>(length));
  const bool small = kHeader + length <= stored_bytes(PageKind::kPacked1K);
  const PageKind kind = small ? PageKind::kPacked1K : PageKind::kPacked2K;
  std::ranges::fill(std::span(buffer).first(stored_bytes(kind)).subspan(kHeader + length),
                    std::byte{0});
  return kind;
}

}  // namespace

BlockStore::BlockStore(Options options)
    : medium_(options.medium),
      codec_(options.codec),
      sessions_(std::move(options.sessions)),
      slots_(align_up(options.initial_bytes / kSlotUnit, kMinGrowthUnits),
             options.reserved_bytes / kSlotUnit) {}

Result<void> BlockStore::grow(std::uint64_t units_before) {
  const MutexLock lock(growing_);
  const std::uint64_t units = slots_.units();
  if (units != units_before) return {};  // someone else did it meanwhile
  std::uint64_t step =
      std::clamp(align_down(units / 8, kMinGrowthUnits), kFirstGrowthUnits, kMaxGrowthUnits);
  for (;; step = align_up(step / 2, kMinGrowthUnits)) {
    const auto grown = medium_.grow((units + step) * kSlotUnit);
    if (grown) break;
    if (grown.error().code != Errc::kExhausted || step == kMinGrowthUnits) return grown;
  }
  slots_.extend(units + step);
  return {};
}

Result<SlotIndex> BlockStore::allocate(std::uint64_t units) {
  if (const auto slot = slots_.allocate(units, kShortSearch)) return *slot;
  for (;;) {
    const std::uint64_t before = slots_.units();
    if (const auto slot = slots_.allocate(units, kShortSearch)) return *slot;
    const auto grown = grow(before);
    if (grown) continue;
    if (const auto slot = slots_.allocate_anywhere(units)) return *slot;
    return grown.error();
  }
}

Result<TreeEntry> BlockStore::seal_into(SlotIndex slot, const PageSealer::Text& text) {
  const std::size_t session = sessions_.current();
  PageSealer& sealer = *sessions_.sealer(session);
  const std::span<std::byte> window = medium_.window(slot.offset_bytes(), text.bytes.size());
  PageSeal seal;
  if (!window.empty()) {
    seal = TRY(sealer.seal(text, window));
  } else {
    Buffer buffer;
    const std::span<std::byte> ciphertext = std::span(buffer).first(text.bytes.size());
    seal = TRY(sealer.seal(text, ciphertext));
    TRY(medium_.write_at(slot.offset_bytes(), ciphertext));
  }
  return TreeEntry(session, slot, text.kind, seal);
}

Result<TreeEntry> BlockStore::write(SealPlace place, ConstPageBytes page) {
  Buffer packed;
  // Nodes are mostly tags, which do not compress.
  const bool try_to_pack = codec_ != nullptr && place.is_page();
  const PageKind kind = try_to_pack ? pack(*codec_, page, packed) : PageKind::kPlain;
  const std::span<const std::byte> text =
      kind == PageKind::kPlain ? std::span<const std::byte>(page)
                               : std::span<const std::byte>(packed).first(stored_bytes(kind));
  auto entry = write_text({.place = place, .kind = kind, .bytes = text});
  if (try_to_pack) wipe(packed);
  return entry;
}

Result<TreeEntry> BlockStore::write_text(const PageSealer::Text& text) {
  const SlotIndex slot = TRY(allocate(units_of(text.kind)));
  auto entry = seal_into(slot, text);
  const bool full = !entry && entry.error().code == Errc::kExhausted && !sessions_.spent();
  if (full) entry = write_elsewhere(text);
  if (!entry || full) slots_.release({slot, units_of(text.kind)});
  return entry;
}

// A file may be longer than the disk has space for (it is sparse, or was trimmed): a place that
// cannot be written does not mean that none can. Places that fail stay taken meanwhile.
Result<TreeEntry> BlockStore::write_elsewhere(const PageSealer::Text& text) {
  constexpr std::size_t kTries = 16;
  const std::uint64_t units = units_of(text.kind);
  slots_.rewind();
  std::vector<SlotIndex> tried;
  Result<TreeEntry> entry = Error{Errc::kExhausted, ENOSPC, "the store's disk is full"};
  while (!entry && entry.error().code == Errc::kExhausted && tried.size() < kTries) {
    const auto slot = slots_.allocate_anywhere(units);
    if (!slot) break;
    tried.push_back(*slot);
    entry = seal_into(*slot, text);
  }
  if (entry) tried.pop_back();
  for (SlotIndex slot : tried) slots_.release({slot, units});
  return entry;
}

Result<void> BlockStore::read(SealPlace place, const TreeEntry& entry, PageBytes page) {
  PageSealer* sealer = sessions_.sealer(entry.session());
  if (sealer == nullptr || entry.absent()) {
    return Error{Errc::kMalformed, 0, "the store names a session that it does not have"};
  }
  Buffer buffer;
  const std::uint64_t length = stored_bytes(entry.kind());
  std::span<const std::byte> ciphertext = medium_.window(entry.slot().offset_bytes(), length);
  if (ciphertext.empty()) {
    const std::span<std::byte> copy = std::span(buffer).first(length);
    TRY(medium_.read_at(entry.slot().offset_bytes(), copy));
    ciphertext = copy;
  }
  const PageSealer::Text text{.place = place, .kind = entry.kind(), .bytes = ciphertext};
  if (entry.kind() == PageKind::kPlain) return sealer->open(text, entry.seal(), page);
  Buffer packed;
  const std::span<std::byte> plaintext = std::span(packed).first(length);
  auto opened = sealer->open(text, entry.seal(), plaintext);
  if (opened) opened = unpack(plaintext, page);
  wipe(packed);
  if (!opened) wipe(page);
  return opened;
}

Result<void> BlockStore::unpack(std::span<const std::byte> packed, PageBytes page) {
  if (codec_ == nullptr) {
    return Error{Errc::kUnsupported, 0, "the store has compressed pages"};
  }
  ByteReader reader(packed);
  const auto length = TRY(reader.read<std::uint16_t>());
  return codec_->unpack(TRY(reader.take(length)), page);
}

void BlockStore::discard(const TreeEntry& entry) {
  if (!entry.absent()) slots_.release({entry.slot(), units_of(entry.kind())});
}

// The counts of sessions are shared by all threads: mostly both blocks are of one, and nothing
// changes.
void BlockStore::replaced(const TreeEntry& before, const TreeEntry& after) {
  discard(before);
  if (!before.absent() && !after.absent() && before.session() == after.session()) return;
  if (!after.absent()) sessions_.add(after.session());
  if (!before.absent()) sessions_.remove(before.session());
}

Result<void> BlockStore::adopt(const TreeEntry& entry) {
  if (!entry.well_formed() || entry.absent() || sessions_.sealer(entry.session()) == nullptr) {
    return Error{Errc::kMalformed, 0, "the store has an entry that means nothing"};
  }
  TRY(slots_.mark({entry.slot(), units_of(entry.kind())}));
  sessions_.add(entry.session());
  return {};
}

void BlockStore::trim() {
  slots_.for_each_free([this](SlotMap::Slot slot) {
    medium_.discard(slot.first.offset_bytes(), slot.units * kSlotUnit);
  });
}

}  // namespace bulkhead
