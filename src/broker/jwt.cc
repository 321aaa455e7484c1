// SPDX-License-Identifier: Apache-2.0
#include "broker/jwt.h"

#include <array>

#include "base/base64.h"

namespace bulkhead::broker {
namespace {

constexpr std::size_t kSignatureBytes = 64;
constexpr std::array<std::string_view, 3> kHeaderMembers = {"alg", "kid", "typ"};

Error malformed() {
  return Error{Errc::kMalformed, 0, "not a token of this broker's form"};
}

Result<Json> decode_part(std::string_view part) {
  const Bytes bytes = TRY(decode_base64(Base64::kUrl, part));
  Json json = TRY(parse_json(text_of(bytes), kMaxJwtBytes));
  if (!json.is_object()) return malformed();
  return json;
}

// The algorithm is not the token's to choose: RFC 8725, 3.1.
Result<void> check_header(std::string_view part) {
  const Json header = TRY(decode_part(part));
  const std::string* algorithm = string_member(header, "alg");
  if (algorithm == nullptr || *algorithm != "ES256") return malformed();
  if (!has_only(header, kHeaderMembers)) return malformed();
  return {};
}

std::string url(std::string_view text) {
  return encode_base64(Base64::kUrl, bytes_of(text));
}

}  // namespace

Result<Jwt> parse_jwt(std::string_view text) {
  if (text.size() > kMaxJwtBytes) return malformed();
  const std::size_t first = text.find('.');
  const std::size_t last = text.rfind('.');
  if (first == std::string_view::npos || last == first) return malformed();
  TRY(check_header(text.substr(0, first)));
  Jwt jwt{.payload = TRY(decode_part(text.substr(first + 1, last - first - 1))),
          .signed_part = std::string(text.substr(0, last)),
          .signature = TRY(decode_base64(Base64::kUrl, text.substr(last + 1)))};
  if (jwt.signature.size() != kSignatureBytes) return malformed();
  return jwt;
}

Result<bool> is_signed_by(const Jwt& jwt, const PublicKey& key) {
  const std::span<const std::byte> signature(jwt.signature);
  const SignatureView view{.scheme = SignatureScheme::kEcdsa,
                           .hash = HashAlgorithm::kSha256,
                           .first = signature.first(kSignatureBytes / 2),
                           .second = signature.last(kSignatureBytes / 2)};
  return key.verify(view, bytes_of(jwt.signed_part));
}

std::string jwt_signed_part(const Json& payload, std::string_view key_id) {
  const Json header = {{"alg", "ES256"}, {"kid", key_id}, {"typ", "JWT"}};
  return url(header.dump()) + "." + url(payload.dump());
}

std::string assemble_jwt(std::string_view signed_part, std::span<const std::byte> signature) {
  return std::string(signed_part) + "." + encode_base64(Base64::kUrl, signature);
}

}  // namespace bulkhead::broker
