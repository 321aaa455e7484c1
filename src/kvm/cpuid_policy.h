// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvm/cpuid.h"

// Private to src/kvm: what a partition must not see, although KVM would offer it.

namespace bulkhead::kvm {

bool is_amd(const CpuidTable& table);

// Takes away feature bits, whole leaves, and the XSAVE components that belong to them.
void hide_features(CpuidTable& table, bool keep_nested);

}  // namespace bulkhead::kvm
