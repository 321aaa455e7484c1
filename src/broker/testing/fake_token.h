// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/core_names.h>
#include <openssl/ec.h>

#include <algorithm>
#include <atomic>
#include <map>

#include "base/check.h"
#include "broker/key_token.h"
#include "broker/openssl_objects.h"
#include "crypto/openssl_bytes.h"
#include "crypto/random.h"

namespace bulkhead::broker {

// A token in memory, which can be away.
class FakeToken final : public KeyToken {
 public:
  std::atomic<bool> away = false;

  Result<void> make_keys(const std::string& tenant) override {
    if (!signers_.contains(tenant)) signers_[tenant].reset(EVP_EC_gen("P-256"));
    return {};
  }
  Result<Bytes> wrap(const std::string& tenant, const SecretBytes& key) override {
    if (away) return is_away();
    Bytes handle(16);
    TRY(random_bytes(handle));
    keys_.emplace(tenant + to_hex(handle), TRY(key.clone()));
    return handle;
  }
  Result<SecretBytes> unwrap(const std::string& tenant,
                             std::span<const std::byte> wrapped) override {
    if (away) return is_away();
    const auto found = keys_.find(tenant + to_hex(wrapped));
    if (found == keys_.end()) return Error{Errc::kMalformed, 0, "not wrapped by this tenant's key"};
    return found->second.clone();
  }
  Result<Bytes> sign(const std::string& tenant, const Sha256Digest& digest) override {
    if (away) return is_away();
    const Openssl<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new(signers_.at(tenant).get(), nullptr));
    Bytes der(128);
    std::size_t size = der.size();
    CHECK(EVP_PKEY_sign_init(context.get()) == 1);
    CHECK(EVP_PKEY_sign(context.get(), openssl_bytes(std::span(der)), &size,
                        openssl_bytes(std::span<const std::byte>(digest)), digest.size()) == 1);
    const unsigned char* position = openssl_bytes(std::span<const std::byte>(der));
    ECDSA_SIG* pair = d2i_ECDSA_SIG(nullptr, &position, static_cast<long>(size));
    CHECK(pair != nullptr);
    const Bytes signature = joined(ECDSA_SIG_get0_r(pair), ECDSA_SIG_get0_s(pair));
    ECDSA_SIG_free(pair);
    return signature;
  }
  Result<Bytes> public_point(const std::string& tenant) override {
    return joined(number(tenant, OSSL_PKEY_PARAM_EC_PUB_X).get(),
                  number(tenant, OSSL_PKEY_PARAM_EC_PUB_Y).get());
  }

 private:
  static Error is_away() { return Error{Errc::kBusy, 0, "the key token is away"}; }

  static Bytes joined(const BIGNUM* first, const BIGNUM* second) {
    Bytes bytes(64);
    const std::span<std::byte> all(bytes);
    CHECK(BN_bn2binpad(first, openssl_bytes(all.first(32)), 32) == 32);
    CHECK(BN_bn2binpad(second, openssl_bytes(all.last(32)), 32) == 32);
    return bytes;
  }
  Openssl<BIGNUM> number(const std::string& tenant, const char* name) {
    BIGNUM* value = nullptr;
    CHECK(EVP_PKEY_get_bn_param(signers_.at(tenant).get(), name, &value) == 1);
    return Openssl<BIGNUM>(value);
  }

  std::map<std::string, Openssl<EVP_PKEY>> signers_;
  std::map<std::string, SecretBytes> keys_;
};

}  // namespace bulkhead::broker
