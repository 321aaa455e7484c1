// SPDX-License-Identifier: Apache-2.0
#include "crypto/secret_bytes.h"

#include <openssl/crypto.h>

#include <algorithm>

#include "crypto/random.h"

namespace bulkhead {

Result<SecretBytes> SecretBytes::create(std::size_t size_bytes) {
  CHECK(size_bytes != 0);
  SecretArena* arena = process_secrets();
  const std::span<std::byte> bytes =
      arena != nullptr ? arena->allocate(size_bytes) : std::span<std::byte>();
  if (bytes.empty()) return Error{Errc::kExhausted, 0, "no memory left for secrets"};
  return SecretBytes(bytes);
}

Result<SecretBytes> SecretBytes::copy_of(std::span<const std::byte> bytes) {
  SecretBytes secret = TRY(create(bytes.size()));
  std::ranges::copy(bytes, secret.bytes().begin());
  return secret;
}

Result<SecretBytes> SecretBytes::random(std::size_t size_bytes) {
  SecretBytes secret = TRY(create(size_bytes));
  TRY(random_bytes(secret.bytes()));
  return secret;
}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
  if (this != &other) {
    reset();
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

void SecretBytes::reset() {
  if (!bytes_.empty()) process_secrets()->release(bytes_.data());
  bytes_ = {};
}

bool constant_time_equal(std::span<const std::byte> one, std::span<const std::byte> other) {
  return one.size() == other.size() && CRYPTO_memcmp(one.data(), other.data(), one.size()) == 0;
}

void wipe(std::span<std::byte> bytes) {
  OPENSSL_cleanse(bytes.data(), bytes.size());
}

}  // namespace bulkhead
