// SPDX-License-Identifier: Apache-2.0
#include "agent/protocol/ephemeral_key.h"

#include <openssl/ec.h>

#include <algorithm>
#include <array>

#include "agent/http.h"
#include "base/base64.h"
#include "broker/jose.h"
#include "broker/openssl_objects.h"
#include "crypto/aead.h"
#include "crypto/openssl_bytes.h"

namespace bulkhead::agent {
namespace {

using broker::Json;

constexpr std::string_view kAlgorithm = "ECDH-ES+A256KW";
constexpr std::array<std::string_view, 5> kMembers = {"protected", "encrypted_key", "iv",
                                                      "ciphertext", "tag"};
constexpr std::array<std::string_view, 3> kHeaderMembers = {"alg", "enc", "epk"};
constexpr std::size_t kWrappedKeyBytes = kAeadKeyBytes + 8;
constexpr std::size_t kMaxSecretBytes = 8 * 1024;  // of a broker's resource

Error no_jwe() {
  return Error{Errc::kMalformed, 0, "the broker's answer is no secret as the protocol has it"};
}

// The parts of a JWE, each of its size.
struct Jwe {
  std::string header;  // as it is authenticated
  Json sender;         // the ephemeral key of whoever encrypted
  Bytes wrapped_key;
  AeadNonce nonce;
  Bytes ciphertext;
  AeadTag tag;
};

struct Sizes {
  std::size_t least;
  std::size_t most;
};
Result<Bytes> bytes_member(const Json& object, std::string_view name, Sizes sizes) {
  const std::string* text = broker::string_member(object, name);
  if (text == nullptr) return no_jwe();
  Result<Bytes> bytes = decode_base64(Base64::kUrl, *text);
  if (!bytes || bytes->size() < sizes.least || bytes->size() > sizes.most) return no_jwe();
  return bytes;
}

template <std::size_t kSize>
Result<std::array<std::byte, kSize>> array_member(const Json& object, std::string_view name) {
  const Bytes bytes = TRY(bytes_member(object, name, {kSize, kSize}));
  std::array<std::byte, kSize> array;
  std::ranges::copy(bytes, array.begin());
  return array;
}

// Another algorithm than ours is not for the broker to choose.
Result<Json> sender_of(std::string_view header) {
  const Bytes text = TRY(decode_base64(Base64::kUrl, header));
  const Json json = TRY(broker::parse_json(broker::text_of(text), kMaxBodyBytes));
  const std::string* algorithm = broker::string_member(json, "alg");
  const std::string* encryption = broker::string_member(json, "enc");
  const Json* sender = broker::member(json, "epk");
  if (!broker::has_only(json, kHeaderMembers) || algorithm == nullptr || encryption == nullptr ||
      *algorithm != kAlgorithm || *encryption != "A256GCM" || sender == nullptr) {
    return no_jwe();
  }
  return *sender;
}

Result<Jwe> parse_jwe(std::string_view text) {
  const Json json = TRY(broker::parse_json(text, kMaxBodyBytes));
  const std::string* header = broker::string_member(json, "protected");
  if (!broker::has_only(json, kMembers) || header == nullptr) return no_jwe();
  return Jwe{
      .header = *header,
      .sender = TRY(sender_of(*header)),
      .wrapped_key = TRY(bytes_member(json, "encrypted_key", {kWrappedKeyBytes, kWrappedKeyBytes})),
      .nonce = TRY(array_member<sizeof(AeadNonce)>(json, "iv")),
      .ciphertext = TRY(bytes_member(json, "ciphertext", {1, kMaxSecretBytes})),
      .tag = TRY(array_member<sizeof(AeadTag)>(json, "tag")),
  };
}

}  // namespace

void EphemeralKey::Free::operator()(evp_pkey_st* key) const {
  EVP_PKEY_free(key);
}

Result<EphemeralKey> EphemeralKey::generate() {
  Key key(EVP_EC_gen("P-256"));
  if (key == nullptr) return openssl_failed();
  broker::RequesterKey public_half =
      TRY(broker::RequesterKey::parse(TRY(broker::p256_jwk(key.get()))));
  return EphemeralKey(std::move(key), std::move(public_half));
}

broker::Json EphemeralKey::jwk() const {
  Json jwk = public_half_.jwk();
  jwk["alg"] = kAlgorithm;
  return jwk;
}

Result<SecretBytes> EphemeralKey::open(std::string_view text) const {
  const Jwe jwe = TRY(parse_jwe(text));
  const auto sender = TRY(broker::RequesterKey::parse(jwe.sender));
  if (sender.kind() != broker::RequesterKey::Kind::kEcP256) return no_jwe();
  const SecretBytes agreed = TRY(broker::agree_ecdh(key_.get(), sender.handle()));
  const SecretBytes wrapping_key = TRY(broker::concat_kdf(
      agreed.bytes(), {.algorithm = kAlgorithm, .producer = {}, .consumer = {}}));
  const SecretBytes content_key = TRY(broker::aes_key_unwrap(wrapping_key, jwe.wrapped_key));
  Aead cipher = TRY(Aead::create(content_key));
  SecretBytes secret = TRY(SecretBytes::create(jwe.ciphertext.size()));
  TRY(cipher.open(
      {.nonce = jwe.nonce, .associated = broker::bytes_of(jwe.header), .text = jwe.ciphertext},
      jwe.tag, secret.bytes()));
  return secret;
}

}  // namespace bulkhead::agent
