// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "base/address.h"
#include "base/result.h"
#include "crypto/keyed_digest.h"
#include "mem/page_vault.h"
#include "seal/context_pool.h"

namespace bulkhead {

// What a store last sealed of each page, as digests under a key that is gone with the store: 16
// bytes a page, 0.4 %. Only in memory. A page that has none yet costs none.
//
// Thread-safe for different pages.
class PageDigests {
 public:
  using Digest = KeyedDigest::Value;

  static Result<std::unique_ptr<PageDigests>> create(std::uint64_t page_count);

  Result<Digest> of(PageIndex page, ConstPageBytes content);
  bool same(PageIndex page, const Digest& digest) const { return digests_[page.value()] == digest; }
  void set(PageIndex page, const Digest& digest) { digests_[page.value()] = digest; }
  // The page is unlike any content from now on.
  void clear(PageIndex page);

 private:
  struct Free {
    void operator()(Digest* digests) const { std::free(digests); }
  };
  using Digests = std::unique_ptr<Digest[], Free>;
  PageDigests(SecretBytes key, Digests digests)
      : key_(std::move(key)), pool_(key_), digests_(std::move(digests)) {}

  const SecretBytes key_;
  ContextPool<KeyedDigest> pool_;
  Digests digests_;  // zero: none
};

}  // namespace bulkhead
