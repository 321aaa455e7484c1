// SPDX-License-Identifier: Apache-2.0
#include "broker/jwe.h"

#include <openssl/ec.h>

#include "base/base64.h"
#include "broker/jose.h"
#include "broker/openssl_objects.h"
#include "crypto/aead.h"
#include "crypto/openssl_bytes.h"
#include "crypto/random.h"

namespace bulkhead::broker {
namespace {

std::string url(std::span<const std::byte> bytes) {
  return encode_base64(Base64::kUrl, bytes);
}

// How the content's key reaches the requester.
struct Envelope {
  Json header;
  Bytes encrypted_key;
};

// RFC 7518, 4.6: a key pair of our own for this one message.
Result<Envelope> envelop_ec(const RequesterKey& key, const SecretBytes& content_key) {
  const Openssl<EVP_PKEY> ephemeral(EVP_EC_gen("P-256"));
  if (ephemeral == nullptr) return openssl_failed();
  const SecretBytes agreed = TRY(agree_ecdh(ephemeral.get(), key.handle()));
  const SecretBytes wrapping_key = TRY(
      concat_kdf(agreed.bytes(), {.algorithm = key.algorithm(), .producer = {}, .consumer = {}}));
  Json public_half = TRY(p256_jwk(ephemeral.get()));
  return Envelope{Json{{"epk", std::move(public_half)}},
                  TRY(aes_key_wrap(wrapping_key, content_key))};
}

Result<Envelope> envelop(const RequesterKey& key, const SecretBytes& content_key) {
  if (key.kind() == RequesterKey::Kind::kEcP256) return envelop_ec(key, content_key);
  return Envelope{Json::object(), TRY(encrypt_rsa_oaep(key.handle(), content_key))};
}

}  // namespace

Result<std::string> encrypt_to(const RequesterKey& key, const SecretBytes& secret) {
  const SecretBytes content_key = TRY(SecretBytes::random(kAeadKeyBytes));
  Envelope envelope = TRY(envelop(key, content_key));
  envelope.header["alg"] = key.algorithm();
  envelope.header["enc"] = "A256GCM";
  const std::string header = url(bytes_of(envelope.header.dump()));

  AeadNonce nonce;
  TRY(random_bytes(nonce));
  Aead cipher = TRY(Aead::create(content_key));
  AeadCounter counter(1);
  Bytes ciphertext(secret.size());
  const AeadTag tag = TRY(cipher.seal(
      TRY(counter.take()), {.nonce = nonce, .associated = bytes_of(header), .text = secret.bytes()},
      ciphertext));
  return Json{{"protected", header},
              {"encrypted_key", url(envelope.encrypted_key)},
              {"iv", url(nonce)},
              {"ciphertext", url(ciphertext)},
              {"tag", url(tag)}}
      .dump();
}

}  // namespace bulkhead::broker
