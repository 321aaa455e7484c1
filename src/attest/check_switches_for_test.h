// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>

#include "attest/report.h"

namespace bulkhead {

// Switches single checks off, to show that they alone refuse something.
class CheckSwitchesForTest {
 public:
  static CheckSwitches without(std::initializer_list<Check> checks) {
    CheckSwitches switches;
    for (Check check : checks) switches.off_ |= 1U << static_cast<unsigned>(check);
    return switches;
  }
};

}  // namespace bulkhead
