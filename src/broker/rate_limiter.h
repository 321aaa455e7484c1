// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

#include "base/thread_annotations.h"
#include "broker/session_table.h"

namespace bulkhead::broker {

struct Rate {
  double per_second = 20;
  double burst = 40;
};

// A bucket of tokens for each name; thread-safe. It remembers a bounded number of names: those
// beyond share one bucket, so that inventing names gains nothing.
class RateLimiter {
 public:
  static constexpr std::size_t kMaxNames = 4096;

  explicit RateLimiter(Rate rate) : rate_(rate) {}

  // Takes a token, if there is one.
  bool allow(std::string_view name, TimePoint now);

 private:
  struct Bucket {
    double tokens = 0;
    TimePoint filled;
  };

  bool take(Bucket& bucket, TimePoint now) const;
  double level(const Bucket& bucket, TimePoint now) const;
  Bucket& bucket_of(std::string_view name, TimePoint now) REQUIRES(mutex_);

  const Rate rate_;
  Mutex mutex_;
  std::map<std::string, Bucket, std::less<>> buckets_ GUARDED_BY(mutex_);
};

// What stands for a peer: an IPv4 address, or the first 64 bits of an IPv6 address, of which
// anybody has 2^64.
std::string peer_group(std::string_view numeric_address);

}  // namespace bulkhead::broker
