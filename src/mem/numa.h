// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/mapping.h"
#include "base/result.h"

namespace bulkhead {

// Whether the host has memory on the node; kNotFound when not.
Result<void> check_node(unsigned node);

// From now on the mapping's pages come from the node alone. A shared mapping of a tmpfs hands that
// on to the file, whoever touches it first; one of a hugetlbfs does not (it has no set_policy).
Result<void> bind_to_node(const Mapping& mapping, unsigned node);

}  // namespace bulkhead
