// SPDX-License-Identifier: Apache-2.0
#include "broker/rate_limiter.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

#include "crypto/digest.h"

namespace bulkhead::broker {
namespace {

constexpr std::string_view kOthers = "*";
constexpr std::size_t kPrefixBytes = 8;

}  // namespace

double RateLimiter::level(const Bucket& bucket, TimePoint now) const {
  const double elapsed = std::chrono::duration<double>(now - bucket.filled).count();
  return std::min(rate_.burst, bucket.tokens + std::max(0.0, elapsed) * rate_.per_second);
}

bool RateLimiter::take(Bucket& bucket, TimePoint now) const {
  bucket.tokens = level(bucket, now);
  bucket.filled = now;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

RateLimiter::Bucket& RateLimiter::bucket_of(std::string_view name, TimePoint now) {
  if (const auto found = buckets_.find(name); found != buckets_.end()) return found->second;
  if (buckets_.size() >= kMaxNames) {
    // A full bucket is as good as none.
    std::erase_if(buckets_,
                  [&](const auto& each) { return level(each.second, now) >= rate_.burst; });
  }
  if (buckets_.size() >= kMaxNames) name = kOthers;
  return buckets_.try_emplace(std::string(name), Bucket{rate_.burst, now}).first->second;
}

bool RateLimiter::allow(std::string_view name, TimePoint now) {
  const MutexLock lock(mutex_);
  return take(bucket_of(name, now), now);
}

std::string peer_group(std::string_view numeric_address) {
  std::array<std::byte, sizeof(in6_addr)> bytes{};
  const std::string text(numeric_address);
  if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) != 1) return text;
  const std::span<const std::byte> all(bytes);
  // ::ffff:a.b.c.d is an IPv4 address.
  const bool is_mapped =
      std::ranges::all_of(all.first(10), [](std::byte b) { return b == std::byte{0}; }) &&
      bytes[10] == std::byte{0xff} && bytes[11] == std::byte{0xff};
  return is_mapped ? "v4:" + to_hex(all.last(4)) : "v6:" + to_hex(all.first(kPrefixBytes));
}

}  // namespace bulkhead::broker
