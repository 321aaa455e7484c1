// SPDX-License-Identifier: Apache-2.0
#include "crypto/hash.h"

#include <openssl/evp.h>

#include <algorithm>

#include "crypto/openssl_bytes.h"
#include "crypto/openssl_hash.h"

namespace bulkhead {
const char* to_string(HashAlgorithm algorithm) {
  constexpr const char* kNames[] = {"sha1", "sha256", "sha384", "sha512"};
  return kNames[static_cast<std::size_t>(algorithm)];
}

Result<Digest> Digest::of_bytes(HashAlgorithm algorithm, std::span<const std::byte> bytes) {
  Digest digest(algorithm);
  if (bytes.size() != digest.bytes().size()) {
    return Error{Errc::kMalformed, 0, "a digest has a length that its algorithm does not give"};
  }
  std::ranges::copy(bytes, digest.bytes_.begin());
  return digest;
}

void Hash::Free::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

Result<Hash> Hash::create(HashAlgorithm algorithm) {
  const EVP_MD* function = openssl_hash(algorithm);
  Context context(EVP_MD_CTX_new());
  if (function == nullptr || context == nullptr) return openssl_failed();
  if (EVP_DigestInit_ex(context.get(), function, nullptr) != 1) return openssl_failed();
  return Hash(algorithm, std::move(context));
}

Result<void> Hash::update(std::span<const std::byte> bytes) {
  if (EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1) return openssl_failed();
  return {};
}

Result<Digest> Hash::finish() && {
  Digest digest(algorithm_);
  unsigned length = 0;
  if (EVP_DigestFinal_ex(context_.get(), openssl_bytes(digest.bytes()), &length) != 1 ||
      length != digest.bytes().size()) {
    return openssl_failed();
  }
  return digest;
}

Result<Digest> Hash::next(std::initializer_list<std::span<const std::byte>> parts) {
  for (const std::span<const std::byte> part : parts) TRY(update(part));
  Digest digest = TRY(std::move(*this).finish());
  if (EVP_DigestInit_ex(context_.get(), nullptr, nullptr) != 1) return openssl_failed();
  return digest;
}

Result<Digest> Hash::of(HashAlgorithm algorithm,
                        std::initializer_list<std::span<const std::byte>> parts) {
  Hash hash = TRY(create(algorithm));
  for (const std::span<const std::byte> part : parts) TRY(hash.update(part));
  return std::move(hash).finish();
}

const Digest* find_digest(const DigestSet& set, HashAlgorithm algorithm) {
  const auto found = std::ranges::find(set, algorithm, &Digest::algorithm);
  return found == set.end() ? nullptr : &*found;
}

Result<MultiHash> MultiHash::create(std::span<const HashAlgorithm> algorithms) {
  std::vector<Hash> hashes;
  hashes.reserve(algorithms.size());
  for (const HashAlgorithm algorithm : algorithms) {
    hashes.push_back(TRY(Hash::create(algorithm)));
  }
  return MultiHash(std::move(hashes));
}

Result<void> MultiHash::update(std::span<const std::byte> bytes) {
  for (Hash& hash : hashes_) TRY(hash.update(bytes));
  return {};
}

Result<DigestSet> MultiHash::finish() && {
  DigestSet digests;
  digests.reserve(hashes_.size());
  for (Hash& hash : hashes_) digests.push_back(TRY(std::move(hash).finish()));
  return digests;
}

Result<DigestSet> MultiHash::of(std::span<const HashAlgorithm> algorithms,
                                std::span<const std::byte> bytes) {
  MultiHash hash = TRY(create(algorithms));
  TRY(hash.update(bytes));
  return std::move(hash).finish();
}

}  // namespace bulkhead
