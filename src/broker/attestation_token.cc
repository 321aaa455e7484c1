// SPDX-License-Identifier: Apache-2.0
#include "broker/attestation_token.h"

#include "broker/jwt.h"

namespace bulkhead::broker {
namespace {

Error not_ours() {
  return Error{Errc::kNotFound, 0, "the token is none of this tenant's, or has expired; attest"};
}

std::string issuer_of(const Tenant& tenant) {
  return "urn:bulkhead:broker:tenant:" + tenant.name;
}

Json findings_json(const Report& report) {
  Json all = Json::array();
  for (const Finding& finding : report.findings()) {
    all.push_back({{"check", to_string(finding.check)},
                   {"outcome", to_string(finding.outcome)},
                   {"seen", finding.seen},
                   {"wanted", finding.wanted}});
  }
  return all;
}

bool is_in_time(const Json& payload, std::int64_t now_s) {
  const Json* expiry = member(payload, "exp");
  return expiry != nullptr && expiry->is_number_integer() && expiry->get<std::int64_t>() > now_s;
}

}  // namespace

Result<std::string> issue_token(const Tenant& tenant, KeyToken& keys, const TokenClaims& claims) {
  const Json payload = {{"iss", issuer_of(tenant)},
                        {"iat", claims.issued_s},
                        {"exp", claims.issued_s + claims.life_s},
                        {"jti", claims.session},
                        {"jwk", tenant.signing_jwk},
                        {"tee-pubkey", claims.key.jwk()},
                        {"evaluation-report", findings_json(claims.report)}};
  const std::string signed_part = jwt_signed_part(payload, tenant.signing_id);
  const Sha256Digest digest = TRY(Sha256::of(bytes_of(signed_part)));
  const Bytes signature = TRY(keys.sign(tenant.name, digest));
  return assemble_jwt(signed_part, signature);
}

Result<std::string> session_of_token(const Tenant& tenant, std::string_view token,
                                     std::int64_t now_s) {
  const Result<Jwt> jwt = parse_jwt(token);
  if (!jwt || !TRY(is_signed_by(*jwt, tenant.signing_key))) return not_ours();
  const std::string* issuer = string_member(jwt->payload, "iss");
  const std::string* session = string_member(jwt->payload, "jti");
  if (issuer == nullptr || *issuer != issuer_of(tenant) || session == nullptr) return not_ours();
  if (!is_in_time(jwt->payload, now_s)) return not_ours();
  return *session;
}

}  // namespace bulkhead::broker
