// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>

namespace bulkhead::agent {

// A point in time by which something must have happened.
class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  static Deadline after(std::chrono::milliseconds patience) {
    return Deadline(Clock::now() + patience);
  }
  // This one, or the earlier one that lies so far ahead.
  Deadline or_after(std::chrono::milliseconds patience) const {
    return Deadline(std::min(end_, Clock::now() + patience));
  }

  // 0 from the deadline on.
  std::chrono::milliseconds remaining() const {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end_ - Clock::now());
    return std::max(left, std::chrono::milliseconds(0));
  }
  bool passed() const { return remaining().count() == 0; }

 private:
  explicit Deadline(Clock::time_point end) : end_(end) {}

  Clock::time_point end_;
};

}  // namespace bulkhead::agent
