// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "attest/known_chains.h"

struct x509_store_st;  // OpenSSL's X509_STORE

namespace bulkhead {

inline constexpr std::size_t kMaxRoots = 64;

// The roots that a relying party believes.
class TrustStore {
 public:
  // Trusts nobody.
  static Result<TrustStore> create();

  // kMalformed for what is no self-signed CA; kExhausted beyond kMaxRoots.
  Result<void> add(Certificate root);
  // All certificates of a PEM file, at least one, each as add(). Another kind of block is an error.
  Result<void> add_pem(std::string_view text);
  std::size_t size() const { return roots_.size(); }

  // Where a chain ends, or why it does not.
  struct Path {
    const char* fault = nullptr;  // a literal
    std::optional<Validity> root;
  };
  // Whether each certificate is signed by the next, and the last by one of the roots, or is one.
  // Says nothing of time.
  Path path_of(std::span<const Certificate> chain) const;

  // The same the short way, of a chain that is good altogether and whose key is known to be one;
  // nothing says only that the long way has to be gone.
  std::optional<ChainFacts> facts_of(std::span<const Bytes> chain) const {
    return plain_.facts_of(chain);
  }
  // The same of a chain that was remembered.
  std::optional<ChainFacts> known_facts_of(std::span<const Bytes> chain) const {
    return known_->find(chain);
  }
  // Only of a chain that either way has accepted, with these facts.
  void remember(std::span<const Bytes> chain, const ChainFacts& facts) const {
    known_->add(chain, facts);
  }

 private:
  struct Free {
    void operator()(x509_store_st* store) const;
  };
  using Handle = std::unique_ptr<x509_store_st, Free>;

  explicit TrustStore(Handle store)
      : store_(std::move(store)), known_(std::make_unique<KnownChains>()) {}

  Handle store_;
  std::vector<Certificate> roots_;
  PlainRoots plain_;
  std::unique_ptr<KnownChains> known_;  // to these roots
};

}  // namespace bulkhead
