// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/check.h"
#include "mem/residency.h"

namespace bulkhead {

enum class PageState : std::uint8_t {
  kUntouched,  // no page, no copy: reads as zero
  kDirty,      // in the file; the vault has nothing of use
  kClean,      // in the file, mapped write-protected at most; the vault's copy is current
  kAgedDirty,  // as kDirty, and was unmapped to see whether anybody touches it
  kAgedClean,
  kSealed,  // only the vault has it
  kFailed,  // the vault did not give it back: whoever touches it waits
  kBusy,    // one of our threads is changing it, nobody else may
};

constexpr bool is_aged(PageState state) {
  return state == PageState::kAgedDirty || state == PageState::kAgedClean;
}
constexpr bool is_resident(PageState state) {
  return is_aged(state) || state == PageState::kDirty || state == PageState::kClean;
}
constexpr bool is_clean(PageState state) {
  return state == PageState::kClean || state == PageState::kAgedClean;
}

// What is known of each page of a range: one word, changed in one atomic step. Whoever makes a page
// busy owns it until finish(); all others wait for that or leave it alone.
class PageStates {
 public:
  explicit PageStates(std::uint64_t count) : words_(count) {}

  PageState state(std::uint64_t page) const { return state_of(words_[page].load()); }

  // Makes a page busy, and tells what it was. A busy page is noted as wanted instead: whoever has
  // it learns that from finish().
  std::optional<PageState> take_or_want(std::uint64_t page) {
    std::uint32_t word = words_[page].load();
    for (;;) {
      const bool busy = state_of(word) == PageState::kBusy;
      const std::uint32_t next = busy ? word | kWanted : with_state(word, PageState::kBusy);
      if (!words_[page].compare_exchange_weak(word, next)) continue;
      return busy ? std::nullopt : std::optional(state_of(word));
    }
  }
  // Makes a page busy if `fits(state, pinned)` holds.
  template <class Fits>
  std::optional<PageState> take_if(std::uint64_t page, Fits fits) {
    std::uint32_t word = words_[page].load();
    while (state_of(word) != PageState::kBusy && fits(state_of(word), word >= kOnePin)) {
      if (words_[page].compare_exchange_weak(word, with_state(word, PageState::kBusy))) {
        return state_of(word);
      }
    }
    return std::nullopt;
  }
  // Whether a page that the caller made busy is neither waited for nor pinned.
  bool undisturbed(std::uint64_t page) const {
    const std::uint32_t word = words_[page].load();
    return (word & kWanted) == 0 && word < kOnePin;
  }
  // Ends what take_*() began. True: threads wait for the page and must be woken.
  bool finish(std::uint64_t page, PageState state) {
    std::uint32_t word = words_[page].load();
    while (!words_[page].compare_exchange_weak(word, with_state(word, state) & ~kWanted)) {
    }
    CHECK(state_of(word) == PageState::kBusy);
    return (word & kWanted) != 0;
  }

  // A page that nobody pinned and that was not found hot becomes aged; a hot one cools down.
  bool age(std::uint64_t page) {
    std::uint32_t word = words_[page].load();
    for (;;) {
      const PageState state = state_of(word);
      if ((state != PageState::kDirty && state != PageState::kClean) || word >= kOnePin) {
        return false;
      }
      const bool hot = (word & kHeatMask) != 0;
      const std::uint32_t next =
          hot ? word - kOneHeat
              : with_state(word, state == PageState::kDirty ? PageState::kAgedDirty
                                                            : PageState::kAgedClean);
      if (words_[page].compare_exchange_weak(word, next)) return !hot;
    }
  }
  // An aged page was touched: the next few rounds leave it alone.
  void heat(std::uint64_t page) {
    std::uint32_t word = words_[page].load();
    while ((word & kHeatMask) != kHeatMask &&
           !words_[page].compare_exchange_weak(word, word + kOneHeat)) {
    }
  }

  bool pin(std::uint64_t page) {
    std::uint32_t word = words_[page].load();
    while (word / kOnePin < Residency::kMaxPins) {
      if (words_[page].compare_exchange_weak(word, word + kOnePin)) return true;
    }
    return false;
  }
  void unpin(std::uint64_t page) { CHECK(words_[page].fetch_sub(kOnePin) >= kOnePin); }

 private:
  static constexpr std::uint32_t kStateMask = 0x7;
  static constexpr std::uint32_t kWanted = 0x8;
  static constexpr std::uint32_t kOneHeat = 0x10;
  static constexpr std::uint32_t kHeatMask = 0x30;
  static constexpr std::uint32_t kOnePin = 0x100;  // the upper 24 bits count pins

  static PageState state_of(std::uint32_t word) {
    return static_cast<PageState>(word & kStateMask);
  }
  static std::uint32_t with_state(std::uint32_t word, PageState state) {
    return (word & ~kStateMask) | static_cast<std::uint32_t>(state);
  }

  std::vector<std::atomic<std::uint32_t>> words_;
};

}  // namespace bulkhead
