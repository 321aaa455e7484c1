// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>

#include "broker/key_token.h"
#include "broker/token/pkcs11_module.h"

namespace bulkhead::broker {

struct TokenConfig {
  std::string module;    // path of the PKCS#11 library
  std::string label;     // the token's
  std::string pin_file;  // holds the user's PIN
};

// The token itself. One thread at a time; lives in the token process only.
class Pkcs11Token final : public KeyToken {
 public:
  // Opens the token and logs in. The PIN is read, used and wiped here.
  static Result<std::unique_ptr<Pkcs11Token>> open(const TokenConfig& config);

  Result<void> make_keys(const std::string& tenant) override;
  Result<Bytes> wrap(const std::string& tenant, const SecretBytes& key) override;
  Result<SecretBytes> unwrap(const std::string& tenant,
                             std::span<const std::byte> wrapped) override;
  Result<Bytes> sign(const std::string& tenant, const Sha256Digest& digest) override;
  Result<Bytes> public_point(const std::string& tenant) override;

 private:
  Pkcs11Token(Pkcs11Module module, CK_SESSION_HANDLE session)
      : module_(std::move(module)), session_(session) {}

  Result<CK_OBJECT_HANDLE> find(CK_OBJECT_CLASS kind, const std::string& tenant);
  Result<bool> has(CK_OBJECT_CLASS kind, const std::string& tenant);
  Result<void> make_wrapping_key(const std::string& tenant);
  Result<void> make_signing_key(const std::string& tenant);
  Result<Bytes> attribute(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type);

  Pkcs11Module module_;
  CK_SESSION_HANDLE session_;
};

}  // namespace bulkhead::broker
