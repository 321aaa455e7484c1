// SPDX-License-Identifier: Apache-2.0
#include "crypto/aead.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "crypto/openssl_bytes.h"

namespace bulkhead {
namespace {

std::array<OSSL_PARAM, 2> tag_parameter(AeadTag& tag) {
  return {OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag.data(), tag.size()),
          OSSL_PARAM_construct_end()};
}

}  // namespace

Result<AeadUse> AeadCounter::take() {
  // The counter stops close above the limit, so that it cannot wrap however often it is asked.
  if (next_.load(std::memory_order_relaxed) >= limit_) {
    return Error{Errc::kExhausted, 0, "the key was used as often as is safe"};
  }
  const std::uint64_t number = next_.fetch_add(1, std::memory_order_relaxed);
  if (number >= limit_) return Error{Errc::kExhausted, 0, "the key was used as often as is safe"};
  return AeadUse(number);
}

void Aead::Free::operator()(evp_cipher_ctx_st* context) const {
  EVP_CIPHER_CTX_free(context);
}

Result<Aead> Aead::create(const SecretBytes& key) {
  if (key.size() != kAeadKeyBytes) {
    return Error{Errc::kInvalidArgument, 0, "a key of AES-256 has 32 bytes"};
  }
  Context context(EVP_CIPHER_CTX_new());
  if (context == nullptr) return openssl_failed();
  // The nonce's default length is 12 bytes.
  if (EVP_CipherInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, openssl_bytes(key.bytes()),
                        nullptr, 1) != 1) {
    return openssl_failed();
  }
  return Aead(std::move(context));
}

bool Aead::process(const Input& input, std::span<std::byte> output, int encrypt) {
  CHECK(output.size() == input.text.size());
  int length = 0;
  return EVP_CipherInit_ex(context_.get(), nullptr, nullptr, nullptr,
                           openssl_bytes(std::span<const std::byte>(input.nonce)), encrypt) == 1 &&
         (input.associated.empty() ||
          EVP_CipherUpdate(context_.get(), nullptr, &length, openssl_bytes(input.associated),
                           openssl_length(input.associated)) == 1) &&
         (input.text.empty() ||
          EVP_CipherUpdate(context_.get(), openssl_bytes(output), &length,
                           openssl_bytes(input.text), openssl_length(input.text)) == 1);
}

Result<AeadTag> Aead::seal(AeadUse, const Input& input, std::span<std::byte> ciphertext) {
  AeadTag tag;
  int length = 0;
  std::array<unsigned char, 16> rest;  // GCM has none, but OpenSSL wants a place for it
  // Asking for the parameter is what EVP_CTRL_AEAD_GET_TAG does in the end, but faster.
  std::array<OSSL_PARAM, 2> params = tag_parameter(tag);
  if (!process(input, ciphertext, 1) ||
      EVP_CipherFinal_ex(context_.get(), rest.data(), &length) != 1 ||
      EVP_CIPHER_CTX_get_params(context_.get(), params.data()) != 1) {
    return openssl_failed();
  }
  return tag;
}

Result<void> Aead::open(const Input& input, const AeadTag& tag, std::span<std::byte> plaintext) {
  AeadTag wanted = tag;
  int length = 0;
  std::array<unsigned char, 16> rest;
  const std::array<OSSL_PARAM, 2> params = tag_parameter(wanted);
  if (process(input, plaintext, 0) &&
      EVP_CIPHER_CTX_set_params(context_.get(), params.data()) == 1 &&
      EVP_CipherFinal_ex(context_.get(), rest.data(), &length) == 1) {
    return {};
  }
  wipe(plaintext);
  return Error{Errc::kMalformed, 0, "sealed bytes were changed"};
}

}  // namespace bulkhead
