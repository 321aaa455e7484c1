// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// What a partition's TPM, its monitor, bulkheadd and the host's TPM say to each other of a counter
// that only grows: docs/formats/vtpm.md.

namespace bulkhead {

enum class CounterAction : std::uint32_t {
  kMake = 1,  // index 0
  kRead = 2,
  kStep = 3,  // one up, and read
};
constexpr bool is_counter_action(CounterAction action) {
  return action >= CounterAction::kMake && action <= CounterAction::kStep;
}

// Who has it can read a counter, and have it count.
inline constexpr std::size_t kCounterPasswordBytes = 32;

struct CounterValue {
  std::uint32_t index = 0;  // of the TPM's NV memory
  std::uint64_t value = 0;

  bool operator==(const CounterValue&) const = default;
};

}  // namespace bulkhead
