// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>

#include "base/base64.h"
#include "broker/bytes.h"
#include "broker/evidence_judge.h"
#include "broker/strict_json.h"

namespace bulkhead::broker {

// Believes {"binding": B, "grants": ["repository/type/tag", ...]} if B is what a quote would have
// been made over (attest/quote_verifier.h), in base64url.
class ScriptedJudge final : public EvidenceJudge {
 public:
  Report judge(const Question& question) const override {
    Report report({});
    const auto evidence = parse_json(question.evidence, 64 * 1024);
    if (!evidence) return report;
    const std::string* binding = string_member(*evidence, "binding");
    const Json* grants = member(*evidence, "grants");
    if (binding == nullptr || grants == nullptr || !grants->is_array()) return report;
    report.judge(Check::kNonce, *binding == binding_of(question.challenge), *binding,
                 binding_of(question.challenge));
    if (!question.secret) {
      report.judge(Check::kSecret, !grants->empty(), "", "any secret");
    } else {
      const Json wanted = std::string(*question.secret);
      const bool granted = std::ranges::find(*grants, wanted) != grants->end();
      report.judge(Check::kSecret, granted, "", wanted);
    }
    return report;
  }

  static std::string binding_of(const Challenge& challenge) {
    const auto data = qualifying_data(challenge);
    return data ? encode_base64(Base64::kUrl, *data) : "";
  }
};

}  // namespace bulkhead::broker
