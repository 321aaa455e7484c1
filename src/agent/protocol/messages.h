// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/protocol/ephemeral_key.h"
#include "attest/evidence.h"

// What goes to and comes from a broker: docs/broker.md.

namespace bulkhead::agent {

std::string auth_body();
// The nonce of the answer to it: 8 to 64 bytes.
Result<Bytes> parse_challenge(std::string_view body);

std::string attest_body(const EphemeralKey& key, const Evidence& evidence);

// Why a broker refuses, in words that are safe to print.
struct Refusal {
  std::string kind;                  // "policy"; empty if the answer is not one of a broker
  std::string detail;                // empty if there is none
  std::vector<std::string> reasons;  // every check that failed, a line each
};
Refusal parse_refusal(std::string_view body);

}  // namespace bulkhead::agent
