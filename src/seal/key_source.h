// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"
#include "crypto/secret_bytes.h"
#include "seal/key_derivation.h"

namespace bulkhead {

// Where a partition's key comes from: a file, a broker, nowhere.
class KeySource {
 public:
  virtual ~KeySource() = default;

  // A copy of the 32 bytes. The caller derives what it needs, and lets go of it.
  virtual Result<SecretBytes> key() = 0;
  // Destroys the key: whatever it sealed is lost. key() fails with kClosed from then on.
  virtual Result<void> erase() = 0;
};

// A random key that nobody else has and that ends with the object: for memory.
class EphemeralKey final : public KeySource {
 public:
  static Result<EphemeralKey> create();

  Result<SecretBytes> key() override;
  Result<void> erase() override;

 private:
  explicit EphemeralKey(SecretBytes key) : key_(std::move(key)) {}

  SecretBytes key_;
};

}  // namespace bulkhead
