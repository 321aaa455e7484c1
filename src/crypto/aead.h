// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "crypto/secret_bytes.h"

struct evp_cipher_ctx_st;  // OpenSSL's EVP_CIPHER_CTX

namespace bulkhead {

inline constexpr std::size_t kAeadKeyBytes = 32;
using AeadNonce = std::array<std::byte, 12>;
using AeadTag = std::array<std::byte, 16>;

// Proof that one more use of a key was counted, with its number. Only an AeadCounter makes it, and
// sealing consumes it: what is not counted cannot be sealed.
class AeadUse {
 public:
  AeadUse(AeadUse&&) noexcept = default;
  AeadUse& operator=(AeadUse&&) noexcept = default;
  AeadUse(const AeadUse&) = delete;
  AeadUse& operator=(const AeadUse&) = delete;

  std::uint64_t number() const { return number_; }

 private:
  friend class AeadCounter;
  explicit AeadUse(std::uint64_t number) : number_(number) {}

  std::uint64_t number_;
};

// Counts the uses of one key, over all threads and contexts that have it. Thread-safe.
class AeadCounter {
 public:
  explicit AeadCounter(std::uint64_t limit) : limit_(limit) {}

  // A number that no one else got: 0, 1, 2... kExhausted at the limit: the key must be changed.
  Result<AeadUse> take();
  std::uint64_t taken() const { return next_.load(std::memory_order_relaxed); }

 private:
  const std::uint64_t limit_;
  std::atomic<std::uint64_t> next_ = 0;
};

// AES-256-GCM (NIST SP 800-38D) with the key expanded once; a call only sets the nonce. One thread
// at a time.
class Aead {
 public:
  struct Input {
    const AeadNonce& nonce;  // never twice under one key
    std::span<const std::byte> associated;
    std::span<const std::byte> text;
  };

  static Result<Aead> create(const SecretBytes& key);

  // `ciphertext` is as long as the text, and is the text or does not overlap it.
  Result<AeadTag> seal(AeadUse use, const Input& input, std::span<std::byte> ciphertext);
  // kMalformed if the tag does not fit; `plaintext` is zero then, and never was what was sealed.
  Result<void> open(const Input& input, const AeadTag& tag, std::span<std::byte> plaintext);

 private:
  struct Free {
    void operator()(evp_cipher_ctx_st* context) const;
  };
  using Context = std::unique_ptr<evp_cipher_ctx_st, Free>;

  explicit Aead(Context context) : context_(std::move(context)) {}
  bool process(const Input& input, std::span<std::byte> output, int encrypt);

  Context context_;
};

}  // namespace bulkhead
