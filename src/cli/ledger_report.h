// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/host_memory.h"
#include "host/memory_audit.h"

// What `bulkhead ledger` prints: text for people, JSON for programs, whose keys only ever get
// added.

namespace bulkhead::cli {

std::string show_text(const HostMemory& memory);
std::string show_json(const HostMemory& memory);
std::string audit_text(const HostMemory& memory, const host::AuditReport& report);
std::string audit_json(const HostMemory& memory, const host::AuditReport& report);

}  // namespace bulkhead::cli
