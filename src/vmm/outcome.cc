// SPDX-License-Identifier: Apache-2.0
#include "vmm/outcome.h"

namespace bulkhead {

const char* to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::kPoweredOff:
      return "powered_off";
    case Outcome::kFailed:
      return "failed";
    case Outcome::kReset:
      return "reset";
    case Outcome::kPanicked:
      return "panicked";
    case Outcome::kTripleFault:
      return "triple_fault";
    case Outcome::kViolation:
      return "violation";
    case Outcome::kStopped:
      return "stopped";
  }
  return "unknown";
}

}  // namespace bulkhead
