// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <deque>
#include <map>

#include "attest/plain_chain.h"
#include "base/thread_annotations.h"

namespace bulkhead {

// Chains that were found to end at a root of ours, so that their signatures need not be verified
// again. They are known by all of their bytes, not by a digest; nothing that was refused is in
// here, and no judgement that depends on the time. Threads may share it.
class KnownChains {
 public:
  static constexpr std::size_t kMaxChains = 1024;
  static constexpr std::size_t kMaxChainBytes = 4096;  // what is larger is not kept: 4 MiB in all

  std::optional<ChainFacts> find(std::span<const Bytes> chain) const;
  // Takes the place of the oldest if there is no other.
  void add(std::span<const Bytes> chain, const ChainFacts& facts);
  // For other roots, everything is new.
  void clear();

 private:
  struct Less {
    using is_transparent = void;
    bool operator()(std::span<const Bytes> one, std::span<const Bytes> other) const {
      return std::ranges::lexicographical_compare(one, other);
    }
  };
  using Chains = std::map<std::vector<Bytes>, ChainFacts, Less>;

  mutable Mutex mutex_;
  Chains chains_ GUARDED_BY(mutex_);
  std::deque<Chains::iterator> by_age_ GUARDED_BY(mutex_);
};

}  // namespace bulkhead
