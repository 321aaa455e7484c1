// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "broker/bytes.h"
#include "broker/strict_json.h"
#include "crypto/public_key.h"

namespace bulkhead::broker {

inline constexpr std::size_t kMaxJwtBytes = 32 * 1024;

// A JWS in compact form (RFC 7515), signed with ES256 and nothing else.
struct Jwt {
  Json payload;
  std::string signed_part;  // what the signature is over
  Bytes signature;          // r and s, 32 bytes each
};

// Whether it is well-formed; not whether it is genuine.
Result<Jwt> parse_jwt(std::string_view text);
Result<bool> is_signed_by(const Jwt& jwt, const PublicKey& key);

// What has to be signed, and the whole with the signature.
std::string jwt_signed_part(const Json& payload, std::string_view key_id);
std::string assemble_jwt(std::string_view signed_part, std::span<const std::byte> signature);

}  // namespace bulkhead::broker
