// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "broker/evidence_judge.h"
#include "broker/rate_limiter.h"
#include "broker/session_table.h"
#include "crypto/public_key.h"

namespace bulkhead::broker {

// One tenant: nothing of it is reachable by way of another.
struct Tenant {
  std::string name;
  std::unique_ptr<EvidenceJudge> judge;
  Json signing_jwk;        // verifies its attestation results
  std::string signing_id;  // RFC 7638 thumbprint of that, base64url
  PublicKey signing_key;
  SessionTable sessions;
  RateLimiter rate;
};

struct TenantOptions {
  std::string name;
  std::unique_ptr<EvidenceJudge> judge;
  SessionLimits sessions;
  Rate rate;
};

// `point`: x and y of the tenant's public signing key.
Result<std::unique_ptr<Tenant>> make_tenant(TenantOptions options,
                                            std::span<const std::byte> point);

}  // namespace bulkhead::broker
