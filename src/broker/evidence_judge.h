// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "attest/quote_verifier.h"
#include "attest/report.h"

namespace bulkhead::broker {

// What the broker asks about evidence that somebody shows.
struct Question {
  std::string_view evidence;  // a JSON text, foreign
  // The broker's nonce, and the RFC 7638 thumbprint of the requester's key.
  const Challenge& challenge;
  // So long ago the nonce was made: evidence that answers it cannot be older.
  std::uint64_t nonce_age_s = 0;
  // None: would it get anything at all, by the general rules or those of any one secret?
  std::optional<std::string_view> secret;
};

// One tenant's verifier and policy. Called by several threads at once.
class EvidenceJudge {
 public:
  virtual ~EvidenceJudge() = default;

  // The findings in their order. Evidence that cannot even be read yields a report without any,
  // which accepts nothing.
  virtual Report judge(const Question& question) const = 0;
};

}  // namespace bulkhead::broker
