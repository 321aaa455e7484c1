// SPDX-License-Identifier: Apache-2.0
// A ledger of hostile bytes, raw or as a patched good one. What is accepted is recovered into one
// that keeps every invariant, opens again as it is, and shows as much to a user.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/check.h"
#include "mem/ledger.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kFrames = 8;
constexpr std::size_t kPatchBytes = 10;

std::vector<std::uint64_t> good_words() {
  LedgerMemory storage(kFrames);
  const PoolSetup pools[] = {
      {.frames = 5}, {.backing = Backing::kCarved, .frames = 3, .physical_base = kMiB * 64}};
  Ledger ledger = Ledger::format(storage, pools).value();
  const auto web = ledger.create_partition({.name = "web", .uid = 1, .pid = 2, .start_time = 3});
  const auto db = ledger.create_partition({.name = "db", .uid = 4, .pid = 5, .start_time = 6});
  const FrameRun run = ledger.take(*web, 0, 3).value();
  CHECK(ledger.take(*db, 1, 2).has_value());
  CHECK(ledger.place(*web, run, GuestFrame(0)).has_value());
  CHECK(ledger.grant(*web, {.grantee = *db, .pages = {PageIndex(511), 2}}).has_value());
  return {storage.words().begin(), storage.words().end()};
}

// Each patch is a place among the words that matter, in two bytes, and a value in eight.
std::vector<std::uint64_t> make_words(std::span<const std::uint8_t> input) {
  static const std::vector<std::uint64_t> good = good_words();
  std::vector<std::uint64_t> words = good;
  for (; input.size() >= kPatchBytes; input = input.subspan(kPatchBytes)) {
    std::uint64_t value = 0;
    std::memcpy(&value, input.data() + 2, sizeof value);
    const std::size_t place = input[1] % 64;
    switch (input[0] % 4) {
      case 0:
        words[place] = value;
        break;
      case 1:
        words[ledger::kPartitionTable + place] ^= value;
        break;
      case 2:
        words[ledger::kGrantTable + place] = value;
        break;
      default:
        words[ledger::kFrameTable + place % kFrames] = value;
    }
  }
  return words;
}

std::vector<std::uint64_t> raw_words(std::span<const std::uint8_t> input) {
  std::vector<std::uint64_t> words(input.size() / sizeof(std::uint64_t));
  if (!words.empty()) std::memcpy(words.data(), input.data(), words.size() * sizeof(std::uint64_t));
  return words;
}

void use(Ledger& ledger) {
  CHECK(ledger.check().has_value());
  for (const PartitionRecord& partition : ledger.view().partitions()) {
    CHECK(LedgerView::open(filtered_copy(ledger.words(), partition.uid)).has_value());
    CHECK(ledger.release_all(partition.id).has_value());
    CHECK(ledger.check().has_value());
  }
  for (const FrameRun& run : ledger.scrubbing()) CHECK(ledger.scrubbed(run).has_value());
  CHECK(ledger.check().has_value());
  CHECK(ledger.view().count(FrameState::kFree) == ledger.frames());
}

}  // namespace
}  // namespace bulkhead

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bulkhead;
  if (size == 0) return 0;
  const std::span<const std::uint8_t> input(data + 1, size - 1);
  const auto words = data[0] % 8 == 0 ? raw_words(input) : make_words(input);
  const bool viewed = LedgerView::open(words).has_value();
  LedgerMemory storage(words);
  Result<Ledger> ledger = Ledger::open(storage);
  if (ledger) CHECK(viewed);
  if (ledger) use(*ledger);
  return 0;
}
