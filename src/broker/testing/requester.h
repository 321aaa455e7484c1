// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/core_names.h>
#include <openssl/ec.h>

#include "base/base64.h"
#include "broker/jose.h"
#include "broker/openssl_objects.h"
#include "broker/requester_key.h"
#include "broker/testing/scripted_judge.h"
#include "crypto/aead.h"
#include "crypto/openssl_bytes.h"

namespace bulkhead::broker {

// Who asks a broker: a key pair, the bodies of its requests, and how it opens what it gets.
class Requester {
 public:
  Requester() : pair_(EVP_EC_gen("P-256")) { CHECK(pair_ != nullptr); }

  Json jwk() const {
    return {{"kty", "EC"},
            {"crv", "P-256"},
            {"alg", "ECDH-ES+A256KW"},
            {"x", coordinate(OSSL_PKEY_PARAM_EC_PUB_X)},
            {"y", coordinate(OSSL_PKEY_PARAM_EC_PUB_Y)}};
  }

  static std::string auth_body() {
    return Json{{"version", "0.4.0"}, {"tee", "tpm"}, {"extra-params", ""}}.dump();
  }

  // Evidence that ScriptedJudge believes, for the nonce of a challenge's body.
  Json evidence(const std::string& challenge, const Json& grants) const {
    const auto key = RequesterKey::parse(jwk());
    CHECK(key.has_value());
    const Challenge bound{.nonce = nonce_of(challenge), .requester_key = key->thumbprint()};
    return {{"binding", ScriptedJudge::binding_of(bound)}, {"grants", grants}};
  }
  std::string attest_body(const std::string& challenge, const Json& evidence) const {
    const Json nonce = encode_base64(Base64::kStandard, nonce_of(challenge));
    return Json{{"runtime-data", {{"nonce", nonce}, {"tee-pubkey", jwk()}}},
                {"tee-evidence", {{"primary_evidence", evidence}, {"additional_evidence", ""}}}}
        .dump();
  }

  // The secret in a JWE, or nothing if this key does not open it.
  std::string open(const std::string& text) const {
    const Json jwe = Json::parse(text);
    const std::string protected_text = jwe.at("protected");
    const Json header = Json::parse(text_of(bytes_at(jwe, "protected")));
    const auto sender = RequesterKey::parse(header.at("epk"));
    CHECK(sender.has_value());
    const auto agreed = agree_ecdh(pair_.get(), sender->handle());
    const auto wrapping_key = concat_kdf(
        agreed->bytes(), {.algorithm = "ECDH-ES+A256KW", .producer = {}, .consumer = {}});
    const Bytes content_key = unwrap(*wrapping_key, bytes_at(jwe, "encrypted_key"));
    if (content_key.empty()) return {};
    return decrypt(content_key, jwe, protected_text);
  }

  static Bytes nonce_of(const std::string& challenge) {
    const Json json = Json::parse(challenge);
    const auto nonce = decode_base64(Base64::kStandard, json.at("nonce").get<std::string>());
    CHECK(nonce.has_value());
    return *nonce;
  }

 private:
  static Bytes bytes_at(const Json& json, const char* name) {
    const auto bytes = decode_base64(Base64::kUrl, json.at(name).get<std::string>());
    CHECK(bytes.has_value());
    return *bytes;
  }
  std::string coordinate(const char* name) const {
    BIGNUM* value = nullptr;
    CHECK(EVP_PKEY_get_bn_param(pair_.get(), name, &value) == 1);
    const Openssl<BIGNUM> owned(value);
    Bytes bytes(32);
    CHECK(BN_bn2binpad(value, openssl_bytes(std::span(bytes)), 32) == 32);
    return encode_base64(Base64::kUrl, bytes);
  }
  static Bytes unwrap(const SecretBytes& key, const Bytes& wrapped) {
    const OpensslErrors cleaner;
    const Openssl<EVP_CIPHER_CTX> context(EVP_CIPHER_CTX_new());
    EVP_CIPHER_CTX_set_flags(context.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    Bytes out(wrapped.size() + 8);
    int size = 0;
    CHECK(EVP_DecryptInit_ex(context.get(), EVP_aes_256_wrap(), nullptr, openssl_bytes(key.bytes()),
                             nullptr) == 1);
    if (EVP_DecryptUpdate(context.get(), openssl_bytes(std::span(out)), &size,
                          openssl_bytes(std::span<const std::byte>(wrapped)),
                          openssl_length(wrapped)) != 1) {
      return {};
    }
    out.resize(static_cast<std::size_t>(size));
    return out;
  }
  static std::string decrypt(const Bytes& key, const Json& jwe, const std::string& associated) {
    const auto secret_key = SecretBytes::copy_of(key);
    auto cipher = Aead::create(*secret_key);
    AeadNonce nonce;
    AeadTag tag;
    std::ranges::copy(bytes_at(jwe, "iv"), nonce.begin());
    std::ranges::copy(bytes_at(jwe, "tag"), tag.begin());
    const Bytes ciphertext = bytes_at(jwe, "ciphertext");
    Bytes plaintext(ciphertext.size());
    const auto opened = cipher->open(
        {.nonce = nonce, .associated = bytes_of(associated), .text = ciphertext}, tag, plaintext);
    return opened ? std::string(text_of(plaintext)) : "";
  }

  Openssl<EVP_PKEY> pair_;
};

}  // namespace bulkhead::broker
