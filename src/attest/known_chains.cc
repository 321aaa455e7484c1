// SPDX-License-Identifier: Apache-2.0
#include "attest/known_chains.h"

namespace bulkhead {

std::optional<ChainFacts> KnownChains::find(std::span<const Bytes> chain) const {
  const MutexLock lock(mutex_);
  const auto found = chains_.find(chain);
  if (found == chains_.end()) return std::nullopt;
  return found->second;
}

void KnownChains::add(std::span<const Bytes> chain, const ChainFacts& facts) {
  std::size_t size = 0;
  for (const Bytes& certificate : chain) size += certificate.size();
  if (size > kMaxChainBytes) return;
  const MutexLock lock(mutex_);
  const auto [place, is_new] = chains_.try_emplace({chain.begin(), chain.end()}, facts);
  if (!is_new) return;
  by_age_.push_back(place);
  if (by_age_.size() <= kMaxChains) return;
  chains_.erase(by_age_.front());
  by_age_.pop_front();
}

void KnownChains::clear() {
  const MutexLock lock(mutex_);
  by_age_.clear();
  chains_.clear();
}

}  // namespace bulkhead
