// SPDX-License-Identifier: Apache-2.0
#include "broker/tenant.h"

#include "base/base64.h"
#include "broker/key_token.h"

namespace bulkhead::broker {

Result<std::unique_ptr<Tenant>> make_tenant(TenantOptions options,
                                            std::span<const std::byte> point) {
  if (point.size() != kPointBytes) return Error{Errc::kMalformed, 0, "no public key of P-256"};
  const auto x = point.first(kPointBytes / 2);
  const auto y = point.last(kPointBytes / 2);
  PublicKey key = TRY(PublicKey::create(PublicKey::Point{.curve = Curve::kP256, .x = x, .y = y}));
  Json jwk = {{"kty", "EC"},
              {"crv", "P-256"},
              {"x", encode_base64(Base64::kUrl, x)},
              {"y", encode_base64(Base64::kUrl, y)}};
  const Sha256Digest thumbprint = TRY(Sha256::of(bytes_of(jwk.dump())));
  return std::unique_ptr<Tenant>(new Tenant{.name = std::move(options.name),
                                            .judge = std::move(options.judge),
                                            .signing_jwk = std::move(jwk),
                                            .signing_id = encode_base64(Base64::kUrl, thumbprint),
                                            .signing_key = std::move(key),
                                            .sessions = SessionTable(options.sessions),
                                            .rate = RateLimiter(options.rate)});
}

}  // namespace bulkhead::broker
