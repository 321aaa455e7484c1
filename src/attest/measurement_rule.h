// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "attest/policy.h"

namespace bulkhead {

// Whether the PCR values are those of one of the rules' references, and among the values that the
// rules list. Rules that have neither accept nothing. A refusal names the PCRs that differ, from
// the nearest reference.
void judge_measurement(Report& report, const Policy& policy, const Rules& rules,
                       const PcrValues& pcrs);

}  // namespace bulkhead
