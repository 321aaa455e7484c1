// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace bulkhead {

// How a partition's run ended. The numbers are the exit status of `bulkhead run`.
enum class Outcome : std::uint8_t {
  kPoweredOff = 0,
  kFailed = 1,  // the host or the monitor
  kReset = 10,
  kPanicked = 11,
  kTripleFault = 12,
  kViolation = 13,  // the guest did what the monitor stops it for
  kStopped = 143,   // from outside, as if by SIGTERM
};

const char* to_string(Outcome outcome);

// Told when the run is over. The first outcome counts. Thread-safe.
class OutcomeSink {
 public:
  virtual ~OutcomeSink() = default;
  virtual void finish(Outcome outcome) = 0;
};

}  // namespace bulkhead
