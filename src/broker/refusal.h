// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "attest/report.h"
#include "base/result.h"
#include "broker/http.h"

namespace bulkhead::broker {

// The protocol's ErrorInformation: {"type", "detail"}, and "reasons" where there are findings.
HttpResponse refuse(unsigned status, std::string_view kind, std::string_view detail);
HttpResponse refuse(unsigned status, std::string_view kind, const Report& report);
// An Error of ours, with the status that its code calls for.
HttpResponse refuse(const Error& error);

// "nonce", the first check that failed; for reasons in the audit log.
std::string reason_of(const Report& report);

}  // namespace bulkhead::broker
