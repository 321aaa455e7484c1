// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

#include "crypto/random.h"

namespace bulkhead::agent {

// How long to wait before the next attempt: twice as long each time, and never as long as the
// others wait who failed at the same moment.
class Backoff {
 public:
  using Milliseconds = std::chrono::milliseconds;
  static constexpr Milliseconds kFirst{500};
  static constexpr Milliseconds kLongest{15'000};

  // Between half of the present step and all of it; not before `asked_for`, if the broker said so.
  Result<Milliseconds> next(std::optional<unsigned> asked_for_s = {}) {
    const auto half = static_cast<std::uint64_t>(step_.count() / 2);
    Milliseconds wait(half + TRY(random_below(half + 1)));
    step_ = std::min(step_ * 2, kLongest);
    if (asked_for_s) {
      const Milliseconds asked = std::chrono::seconds(*asked_for_s);
      wait = std::max(wait, std::min(asked, kLongest));
    }
    return wait;
  }

 private:
  Milliseconds step_ = kFirst;
};

}  // namespace bulkhead::agent
