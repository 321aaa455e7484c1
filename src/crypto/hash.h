// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX

namespace bulkhead {

// For formats that name their hash (FIPS 180-4). Where we choose, it is Sha256 of digest.h. SHA-1
// is for reading what others wrote: nothing of ours may rest on it.
enum class HashAlgorithm : std::uint8_t { kSha1, kSha256, kSha384, kSha512 };

inline constexpr std::size_t kMaxDigestBytes = 64;

constexpr std::size_t digest_bytes(HashAlgorithm algorithm) {
  constexpr std::size_t kSizes[] = {20, 32, 48, 64};
  return kSizes[static_cast<std::size_t>(algorithm)];
}
const char* to_string(HashAlgorithm algorithm);

// What a hash gives, with the hash's name: digests of two algorithms are never equal.
class Digest {
 public:
  // All zero: where a chain of digests begins.
  explicit Digest(HashAlgorithm algorithm) : algorithm_(algorithm) {}
  // Bytes that a format holds as a digest; kMalformed if it is not their length.
  static Result<Digest> of_bytes(HashAlgorithm algorithm, std::span<const std::byte> bytes);

  HashAlgorithm algorithm() const { return algorithm_; }
  std::span<const std::byte> bytes() const {
    return std::span(bytes_).first(digest_bytes(algorithm_));
  }
  std::span<std::byte> bytes() { return std::span(bytes_).first(digest_bytes(algorithm_)); }
  bool operator==(const Digest&) const = default;

 private:
  HashAlgorithm algorithm_;
  std::array<std::byte, kMaxDigestBytes> bytes_{};  // zero beyond the digest
};

// One algorithm over bytes that come in pieces.
class Hash {
 public:
  static Result<Hash> create(HashAlgorithm algorithm);

  Result<void> update(std::span<const std::byte> bytes);
  // The digest of everything so far. The object is used up by it.
  Result<Digest> finish() &&;
  // The same of these parts alone, with an object that nothing was put into; it can be used again.
  Result<Digest> next(std::initializer_list<std::span<const std::byte>> parts);

  // Of the parts, one after the other.
  static Result<Digest> of(HashAlgorithm algorithm,
                           std::initializer_list<std::span<const std::byte>> parts);

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  using Context = std::unique_ptr<evp_md_ctx_st, Free>;

  Hash(HashAlgorithm algorithm, Context context)
      : algorithm_(algorithm), context_(std::move(context)) {}

  HashAlgorithm algorithm_;
  Context context_;
};

// The same bytes under several algorithms, each at most once.
using DigestSet = std::vector<Digest>;

// Null if the set has none of that algorithm.
const Digest* find_digest(const DigestSet& set, HashAlgorithm algorithm);

// Several algorithms over one reading of the bytes.
class MultiHash {
 public:
  static Result<MultiHash> create(std::span<const HashAlgorithm> algorithms);

  Result<void> update(std::span<const std::byte> bytes);
  // In the order in which create() was given the algorithms. The object is used up by it.
  Result<DigestSet> finish() &&;

  static Result<DigestSet> of(std::span<const HashAlgorithm> algorithms,
                              std::span<const std::byte> bytes);

 private:
  explicit MultiHash(std::vector<Hash> hashes) : hashes_(std::move(hashes)) {}

  std::vector<Hash> hashes_;
};

}  // namespace bulkhead
