// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "seal/key_source.h"

namespace bulkhead::vtpm {

// A key that this process was given, until it is erased.
class HeldKey final : public KeySource {
 public:
  explicit HeldKey(SecretBytes key) : key_(std::move(key)) {}

  // The 32 bytes in a pipe, which nobody can read again.
  static Result<HeldKey> read(int pipe);

  Result<SecretBytes> key() override;
  Result<void> erase() override;

 private:
  SecretBytes key_;
};

}  // namespace bulkhead::vtpm
