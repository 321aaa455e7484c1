// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "broker/key_token.h"
#include "broker/tenant.h"

namespace bulkhead::broker {

// What an attestation result says.
struct TokenClaims {
  std::string session;
  const RequesterKey& key;
  const Report& report;
  std::int64_t issued_s = 0;  // since 1970
  std::int64_t life_s = 300;
};

// The result as a JWT, signed by the tenant's key in the token.
Result<std::string> issue_token(const Tenant& tenant, KeyToken& keys, const TokenClaims& claims);

// The session that a token of this tenant names; kNotFound for any other token, and for one that
// has expired.
Result<std::string> session_of_token(const Tenant& tenant, std::string_view token,
                                     std::int64_t now_s);

}  // namespace bulkhead::broker
