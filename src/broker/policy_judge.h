// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "attest/policy.h"
#include "attest/trust_store.h"
#include "base/utc_time.h"
#include "broker/config.h"
#include "broker/evidence_judge.h"

namespace bulkhead::broker {

// Judges evidence (docs/formats/evidence.md) by a tenant's policy and roots.
class PolicyJudge final : public EvidenceJudge {
 public:
  using Now = std::function<UtcTime()>;

  PolicyJudge(Policy policy, TrustStore trust, Now now)
      : policy_(std::move(policy)), trust_(std::move(trust)), now_(std::move(now)) {}
  // Throws UsageError for a policy or roots that are wrong or cannot be read. Without a directory
  // of roots nobody is believed.
  static std::unique_ptr<PolicyJudge> create(const TenantConfig& tenant);

  Report judge(const Question& question) const override;

 private:
  const Policy policy_;
  const TrustStore trust_;
  const Now now_;
};

}  // namespace bulkhead::broker
