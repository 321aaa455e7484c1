// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "base/fd.h"
#include "mem/ledger_view.h"

namespace bulkhead::cli {

// The ledger of the whole host as it was when bulkheadd was asked.
struct DaemonSnapshot {
  LedgerView view;
  pid_t daemon = 0;
};

// Where bulkheadd listens. BULKHEAD_DAEMON_SOCKET overrides the usual place.
std::string daemon_socket();
bool daemon_answers(const std::string& socket);
// Nothing when no daemon listens there. Throws HostError when one does, and gives no ledger.
std::optional<DaemonSnapshot> ask_daemon(const std::string& socket);

}  // namespace bulkhead::cli
