// SPDX-License-Identifier: Apache-2.0
// What a broker's requesters send: paths, cookies, bodies, keys and tokens. The first byte chooses.
// Each is taken whole or refused; what was taken keeps its promises.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/base64.h"
#include "base/check.h"
#include "broker/jwe.h"
#include "broker/jwt.h"
#include "broker/messages.h"
#include "broker/names.h"
#include "broker/route.h"
#include "broker/token/token_messages.h"

namespace bulkhead::broker {
namespace {

void try_route(std::string_view text) {
  const auto route = parse_route(text);
  if (!route) return;
  CHECK(route->tenant.empty() || is_tenant_name(route->tenant));
  CHECK((route->endpoint == Endpoint::kResource) == is_resource_name(route->resource));
}

void try_cookie(std::string_view text) {
  const auto session = session_cookie(text);
  CHECK(!session || session->size() == 2 * kSessionIdBytes);
  static_cast<void>(bearer_token(text));
}

// Whoever has a key that we take can be sent something.
void try_key(const RequesterKey& key) {
  const auto secret = SecretBytes::copy_of(bytes_of("secret"));
  CHECK(secret.has_value());
  const auto sent = encrypt_to(key, *secret);
  CHECK(!sent || parse_json(*sent, 16 * 1024).has_value());
}

void try_attest(std::string_view text) {
  const auto request = parse_attest_request(text);
  if (!request) return;
  CHECK(request->nonce.size() == kNonceBytes);
  try_key(request->key);
}

void try_jwk(std::string_view text) {
  const auto json = parse_json(text, 16 * 1024);
  if (!json) return;
  const auto key = RequesterKey::parse(*json);
  if (!key) return;
  const auto again = RequesterKey::parse(key->jwk());
  CHECK(again.has_value() && again->thumbprint() == key->thumbprint());
  try_key(*key);
}

void try_jwt(std::string_view text) {
  const auto jwt = parse_jwt(text);
  if (jwt) CHECK(assemble_jwt(jwt->signed_part, jwt->signature) == text);
}

void try_base64(std::string_view text) {
  for (const Base64 form : {Base64::kStandard, Base64::kUrl}) {
    const auto bytes = decode_base64(form, text);
    if (bytes) CHECK(encode_base64(form, *bytes) == text);
  }
}

void try_token_message(std::string_view text) {
  const auto request = decode_request(bytes_of(text));
  if (request) CHECK(is_tenant_name(request->tenant));
  static_cast<void>(decode_answer(bytes_of(text)));
}

void try_one(std::uint8_t choice, std::string_view text) {
  switch (choice % 8) {
    case 0:
      return try_route(text);
    case 1:
      return try_cookie(text);
    case 2:
      return static_cast<void>(check_auth_request(text));
    case 3:
      return try_attest(text);
    case 4:
      return try_jwk(text);
    case 5:
      return try_jwt(text);
    case 6:
      return try_base64(text);
    default:
      return try_token_message(text);
  }
}

}  // namespace
}  // namespace bulkhead::broker

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto* text = static_cast<const char*>(static_cast<const void*>(data));
  bulkhead::broker::try_one(data[0], std::string_view(text, size).substr(1));
  return 0;
}
