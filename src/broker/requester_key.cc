// SPDX-License-Identifier: Apache-2.0
#include "broker/requester_key.h"

#include <openssl/core_names.h>

#include <algorithm>
#include <array>

#include "base/base64.h"
#include "broker/openssl_objects.h"
#include "crypto/openssl_bytes.h"

namespace bulkhead::broker {
namespace {

constexpr std::size_t kCoordinateBytes = 32;
constexpr std::size_t kMinModulusBytes = 256;
constexpr std::size_t kMaxModulusBytes = 512;
constexpr std::array<std::string_view, 9> kMembers = {"kty", "alg", "crv", "x",      "y",
                                                      "n",   "e",   "kid", "key_ops"};

Error refused() {
  return Error{Errc::kMalformed, 0, "tee-pubkey is no public key: EC P-256, or RSA from 2048 bits"};
}

// "alg" may be left out; another one than ours is not for us to overrule.
bool has_algorithm(const Json& jwk, std::string_view wanted) {
  const Json* algorithm = member(jwk, "alg");
  return algorithm == nullptr || *algorithm == wanted;
}

Error other_algorithm() {
  return Error{Errc::kUnsupported, 0, "tee-pubkey.alg: only ECDH-ES+A256KW, RSA-OAEP-256"};
}

Result<Bytes> number_member(const Json& jwk, std::string_view name) {
  const std::string* text = string_member(jwk, name);
  if (text == nullptr || text->size() > 2 * kMaxModulusBytes) return refused();
  return decode_base64(Base64::kUrl, *text);
}

Result<std::string> coordinate(EVP_PKEY* key, const char* name) {
  BIGNUM* number = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &number) != 1) return openssl_failed();
  const Openssl<BIGNUM> owned(number);
  Bytes bytes(kCoordinateBytes);
  const int size = openssl_length(bytes);
  if (BN_bn2binpad(number, openssl_bytes(std::span(bytes)), size) != size) return openssl_failed();
  return encode_base64(Base64::kUrl, bytes);
}

}  // namespace

void RequesterKey::Free::operator()(evp_pkey_st* key) const {
  EVP_PKEY_free(key);
}

const char* RequesterKey::algorithm() const {
  return kind_ == Kind::kEcP256 ? "ECDH-ES+A256KW" : "RSA-OAEP-256";
}

Result<RequesterKey::Key> RequesterKey::build(const char* type, ossl_param_bld_st* builder) {
  const OpensslErrors cleaner;
  const Openssl<OSSL_PARAM> parameters(OSSL_PARAM_BLD_to_param(builder));
  const Openssl<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  if (parameters == nullptr || context == nullptr || EVP_PKEY_fromdata_init(context.get()) != 1) {
    return openssl_failed();
  }
  EVP_PKEY* key = nullptr;
  const int made = EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.get());
  Key owned(key);
  if (made != 1 || owned == nullptr) return refused();
  return owned;
}

Result<RequesterKey> RequesterKey::parse_ec(const Json& jwk) {
  const std::string* curve = string_member(jwk, "crv");
  if (curve == nullptr || *curve != "P-256") return refused();
  if (!has_algorithm(jwk, "ECDH-ES+A256KW")) return other_algorithm();
  const Bytes x = TRY(number_member(jwk, "x"));
  const Bytes y = TRY(number_member(jwk, "y"));
  if (x.size() != kCoordinateBytes || y.size() != kCoordinateBytes) return refused();
  Bytes point = {std::byte{4}};  // SEC 1, 2.3.3: uncompressed
  point.insert(point.end(), x.begin(), x.end());
  point.insert(point.end(), y.begin(), y.end());
  const Openssl<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  if (builder == nullptr ||
      OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) !=
          1 ||
      OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                       point.size()) != 1) {
    return openssl_failed();
  }
  Key key = TRY(build("EC", builder.get()));
  return RequesterKey(
      Kind::kEcP256, std::move(key),
      Json{{"kty", "EC"}, {"crv", "P-256"}, {"x", jwk.at("x")}, {"y", jwk.at("y")}});
}

Result<RequesterKey> RequesterKey::parse_rsa(const Json& jwk) {
  if (!has_algorithm(jwk, "RSA-OAEP-256")) return other_algorithm();
  const Bytes modulus = TRY(number_member(jwk, "n"));
  const std::string* exponent = string_member(jwk, "e");
  if (exponent == nullptr || *exponent != "AQAB") return refused();  // 65537
  if (modulus.size() < kMinModulusBytes || modulus.size() > kMaxModulusBytes) return refused();
  // Odd, and as long as it looks: OpenSSL's arithmetic pays dearly for anything else.
  const bool good = (modulus.front() & std::byte{0x80}) != std::byte{0} &&
                    (modulus.back() & std::byte{1}) != std::byte{0};
  if (!good) return refused();
  const Openssl<BIGNUM> number(BN_bin2bn(openssl_bytes(std::span<const std::byte>(modulus)),
                                         openssl_length(modulus), nullptr));
  const Openssl<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  if (number == nullptr || builder == nullptr ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, number.get()) != 1 ||
      OSSL_PARAM_BLD_push_uint32(builder.get(), OSSL_PKEY_PARAM_RSA_E, 65537) != 1) {
    return openssl_failed();
  }
  Key key = TRY(build("RSA", builder.get()));
  return RequesterKey(Kind::kRsa, std::move(key),
                      Json{{"kty", "RSA"}, {"e", "AQAB"}, {"n", jwk.at("n")}});
}

Result<RequesterKey> RequesterKey::parse(const Json& jwk) {
  // A private key that somebody sends by mistake has members that are not here.
  if (!has_only(jwk, kMembers)) {
    return Error{Errc::kMalformed, 0, "tee-pubkey is no JWK of a public key, or has other members"};
  }
  const std::string* type = string_member(jwk, "kty");
  if (type == nullptr || (*type != "EC" && *type != "RSA")) return refused();
  RequesterKey key = TRY(*type == "EC" ? parse_ec(jwk) : parse_rsa(jwk));
  // nlohmann's objects are ordered by key, and dumped without spaces: RFC 7638's form.
  key.thumbprint_ = TRY(Sha256::of(bytes_of(key.jwk_.dump())));
  return key;
}

Result<Json> p256_jwk(evp_pkey_st* key) {
  return Json{{"kty", "EC"},
              {"crv", "P-256"},
              {"x", TRY(coordinate(key, OSSL_PKEY_PARAM_EC_PUB_X))},
              {"y", TRY(coordinate(key, OSSL_PKEY_PARAM_EC_PUB_Y))}};
}

}  // namespace bulkhead::broker
