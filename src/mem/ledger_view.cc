// SPDX-License-Identifier: Apache-2.0
#include "mem/ledger_view.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace bulkhead {
namespace {

using ledger::Frame;

constexpr std::size_t kMaxBytes = ledger::words_for(ledger::kMaxFrames) * sizeof(std::uint64_t);

std::string name_of(std::span<const std::uint64_t> words, std::size_t slot) {
  std::array<char, ledger::kNameWords * sizeof(std::uint64_t)> text;
  std::memcpy(text.data(), &words[ledger::partition_word(slot) + ledger::kNameWord], text.size());
  return {text.data(), ::strnlen(text.data(), text.size())};
}

Frame frame_at(std::span<const std::uint64_t> words, FrameIndex index) {
  return Frame::decode(words[ledger::frame_word(index)]);
}

std::uint32_t uid_of(std::span<const std::uint64_t> words, std::size_t slot) {
  return ledger::low_half(words[ledger::partition_word(slot) + 1]);
}

}  // namespace

Result<LedgerView> LedgerView::open(std::vector<std::uint64_t> words) {
  TRY(validate_ledger(words, LedgerRule::kRecoverable));
  return LedgerView(std::move(words));
}

Result<LedgerView> LedgerView::read(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return os_error("cannot examine the ledger");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > kMaxBytes || size % sizeof(std::uint64_t) != 0) {
    return Error{Errc::kMalformed, 0, "the file has no size that a ledger can have"};
  }
  std::vector<std::uint64_t> words(size / sizeof(std::uint64_t));
  auto* bytes = static_cast<std::byte*>(static_cast<void*>(words.data()));
  for (std::size_t done = 0; done < size;) {
    const ssize_t got = ::pread(fd, bytes + done, size - done, static_cast<off_t>(done));
    if (got < 0) return os_error("cannot read the ledger");
    if (got == 0) return Error{Errc::kTruncated, 0, "the ledger ends too early"};
    done += static_cast<std::size_t>(got);
  }
  return open(std::move(words));
}

bool LedgerView::filtered() const {
  return (ledger::high_half(words_[ledger::kVersionWord]) & ledger::kFlagFiltered) != 0;
}

std::vector<PoolRecord> pool_records(std::span<const std::uint64_t> words) {
  std::vector<PoolRecord> pools;
  for (std::size_t i = 0; i < words[ledger::kPoolsWord]; ++i) {
    const std::uint64_t* word = &words[ledger::kPoolTable + i * ledger::kPoolWords];
    PoolRecord pool{.backing = static_cast<Backing>(ledger::low_half(word[0])),
                    .numa_node = std::nullopt,
                    .run = {FrameIndex(word[1]), word[2]},
                    .physical_base = word[3]};
    const std::uint32_t node = ledger::high_half(word[0]);
    if (node != ledger::kNoNode) pool.numa_node = node;
    pools.push_back(pool);
  }
  return pools;
}

FrameRecord LedgerView::frame(FrameIndex index) const {
  CHECK(index.value() < frames());
  const Frame frame = frame_at(words_, index);
  FrameRecord record{.state = frame.state, .head = frame.head, .owner = {}, .guest_frame = {}};
  if (!frame.held()) return record;
  record.owner = frame.owner;
  if (frame.guest_frame != ledger::kNotPlaced) record.guest_frame = GuestFrame(frame.guest_frame);
  return record;
}

std::vector<PartitionRecord> LedgerView::partitions() const {
  std::vector<PartitionRecord> partitions;
  for (std::size_t slot = 0; slot < ledger::kMaxPartitions; ++slot) {
    const std::uint64_t* word = &words_[ledger::partition_word(slot)];
    const SlotState state = ledger::slot_state(word[0]);
    if (state == SlotState::kEmpty) continue;
    partitions.push_back(
        {.id = {static_cast<std::uint16_t>(slot), ledger::high_half(word[0])},
         .state = state,
         .uid = ledger::low_half(word[1]),
         .pid = ledger::high_half(word[1]),
         .start_time = word[2],
         .name = state == SlotState::kCreating ? std::string() : name_of(words_, slot)});
  }
  return partitions;
}

std::vector<GrantRecord> LedgerView::grants() const {
  std::vector<GrantRecord> grants;
  for (std::size_t i = 0; i < ledger::kMaxGrants; ++i) {
    const std::uint64_t* word = &words_[ledger::grant_word(i)];
    const ledger::Grant grant = ledger::Grant::decode(word[0]);
    if (grant.rights == 0) continue;
    GrantRecord record{.id = GrantId(i),
                       .owner = grant.owner,
                       .grantee = std::nullopt,
                       .rights = static_cast<Rights>(grant.rights),
                       .pages = {PageIndex(word[1]), word[2]}};
    if (grant.grantee != ledger::kHostTools) record.grantee = grant.grantee;
    grants.push_back(record);
  }
  return grants;
}

// A run begins at a head, and goes on with frames of the same owner that are none.
std::vector<HeldRun> LedgerView::extents() const {
  std::vector<HeldRun> extents;
  bool joined = false;
  for (std::uint64_t i = 0; i < frames(); ++i) {
    const Frame frame = frame_at(words_, FrameIndex(i));
    if (frame.held() && frame.head) {
      extents.push_back({.run = {FrameIndex(i), 1}, .owner = frame.owner});
      joined = true;
    } else if (frame.held() && joined && extents.back().owner == frame.owner) {
      ++extents.back().run.frames;
    } else {
      joined = false;
    }
  }
  return extents;
}

std::uint64_t LedgerView::count(FrameState state) const {
  const auto table = std::span(words_).subspan(ledger::kFrameTable);
  return static_cast<std::uint64_t>(
      std::count_if(table.begin(), table.end(),
                    [&](std::uint64_t word) { return Frame::decode(word).state == state; }));
}

std::uint64_t LedgerView::frames_of(std::uint16_t slot) const {
  const auto table = std::span(words_).subspan(ledger::kFrameTable);
  return static_cast<std::uint64_t>(
      std::count_if(table.begin(), table.end(), [slot](std::uint64_t word) {
        const Frame frame = Frame::decode(word);
        return frame.held() && frame.owner == slot;
      }));
}

std::vector<std::uint64_t> filtered_copy(std::span<const std::uint64_t> words, std::uint32_t uid) {
  std::vector<std::uint64_t> copy(words.begin(), words.end());
  copy[ledger::kVersionWord] = ledger::join(ledger::kVersion, ledger::kFlagFiltered);
  for (std::size_t i = 0; i < ledger::kMaxGrants; ++i) {
    const auto at = copy.begin() + static_cast<std::ptrdiff_t>(ledger::grant_word(i));
    if (uid_of(words, ledger::Grant::decode(*at).owner % ledger::kMaxPartitions) != uid) {
      std::fill_n(at, ledger::kGrantWords, 0);
    }
  }
  for (std::size_t i = ledger::kFrameTable; i < copy.size(); ++i) {
    const Frame frame = Frame::decode(copy[i]);
    const bool others = frame.held() && uid_of(words, frame.owner) != uid;
    if (others) copy[i] = Frame{.state = FrameState::kWithheld}.encode();
  }
  for (std::size_t slot = 0; slot < ledger::kMaxPartitions; ++slot) {
    const auto at = copy.begin() + static_cast<std::ptrdiff_t>(ledger::partition_word(slot));
    const bool live = ledger::slot_state(*at) == SlotState::kLive;
    if (!live || uid_of(words, slot) != uid) std::fill_n(at, ledger::kPartitionWords, 0);
  }
  return copy;
}

}  // namespace bulkhead
