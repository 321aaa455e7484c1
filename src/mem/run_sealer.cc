// SPDX-License-Identifier: Apache-2.0
#include "mem/run_sealer.h"

#include <algorithm>
#include <cstring>

namespace bulkhead {
namespace {

static_assert(ScratchPages::kPages == ColdRange::kMaxRun);

bool all_zero(ConstPageBytes bytes) {
  return bytes[0] == std::byte{0} &&
         std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

}  // namespace

Result<RunSealer> RunSealer::create(ColdCore& core) {
  return RunSealer(core, TRY(ScratchPages::create()));
}

RunSealer::Tally RunSealer::seal(ColdRange& range, std::uint64_t first, std::uint64_t count,
                                 Which which) {
  CHECK(count <= ColdRange::kMaxRun);
  Tally tally;
  const std::uint64_t end = first + count;
  for (std::uint64_t page = first; page < end;) {
    const std::uint64_t run = take_run(range, page, end - page, which);
    if (run > 0) seal_run(range, page, run, tally);
    page += run + 1;  // the page after a run was not taken
  }
  return tally;
}

std::uint64_t RunSealer::take_run(ColdRange& range, std::uint64_t first, std::uint64_t count,
                                  Which which) {
  const auto fits = [which](PageState state, bool pinned) {
    if (pinned) return false;
    return which == Which::kAged ? is_aged(state) : is_resident(state);
  };
  std::uint64_t taken = 0;
  for (; taken < count; ++taken) {
    const std::optional<PageState> state = range.states().take_if(first + taken, fits);
    if (!state) break;
    before_[taken] = *state;
  }
  return taken;
}

void RunSealer::seal_run(ColdRange& range, std::uint64_t first, std::uint64_t count, Tally& tally) {
  const Result<void> loaded = load(range, first, count);
  if (!loaded) core_.host_failed("cold.read_failed", loaded.error());
  for (std::uint64_t slot = 0; slot < count; ++slot) {
    after_[slot] = loaded ? seal_page(range, first + slot, slot) : before_[slot];
  }
  scratch_.wipe(0, count);
  erase_gone(range, first, count);
  for (std::uint64_t slot = 0; slot < count; ++slot) {
    core_.finish(range, first + slot, before_[slot], after_[slot]);
    ++(is_resident(after_[slot]) ? tally.failed : tally.gone);
  }
}

Result<void> RunSealer::load(const ColdRange& range, std::uint64_t first, std::uint64_t count) {
  if (!core_.sabotage.seal_while_mapped) TRY(range.unmap(first, count));
  if (std::all_of(before_.begin(), before_.begin() + static_cast<std::ptrdiff_t>(count),
                  is_clean)) {
    return {};
  }
  return range.read(first, scratch_.bytes().first(count * kPageSize));
}

PageState RunSealer::seal_page(ColdRange& range, std::uint64_t page, std::uint64_t slot) {
  if (is_clean(before_[slot])) {
    if (!range.states().undisturbed(page)) return PageState::kAgedClean;
    ++core_.counters.dropped_clean;
    return PageState::kSealed;
  }
  const PageBytes bytes = scratch_.page(slot);
  if (all_zero(bytes)) {
    ++core_.counters.dropped_zero;
    return PageState::kUntouched;
  }
  if (!core_.vault.put(range.index(page), bytes)) {
    ++core_.counters.put_errors;
    return PageState::kDirty;
  }
  if (!range.states().undisturbed(page)) return stays(range, page);
  ++core_.counters.put;
  return PageState::kSealed;
}

PageState RunSealer::stays(const ColdRange& range, std::uint64_t page) {
  ++core_.counters.aborted;
  if (core_.keeps_copies) return PageState::kAgedClean;
  core_.vault.forget(range.index(page));
  return PageState::kDirty;
}

void RunSealer::erase_gone(const ColdRange& range, std::uint64_t first, std::uint64_t count) {
  std::uint64_t slot = 0;
  while (slot < count) {
    const std::uint64_t start = slot;
    while (slot < count && !is_resident(after_[slot])) ++slot;
    if (slot > start) {
      // The vault has the content. A page that could not be freed holds zeroes, or is found when
      // it is opened again; either way it is overwritten then.
      const Result<void> erased = range.erase(first + start, slot - start);
      if (!erased) core_.host_failed("cold.erase_failed", erased.error());
    } else {
      ++slot;
    }
  }
}

}  // namespace bulkhead
