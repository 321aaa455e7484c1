// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "seal/key_source.h"
#include "seal/medium_for_test.h"
#include "seal/sealed_store.h"

namespace bulkhead {

// Exhaustive tests take steps of this size under a sanitizer, which makes them much slower.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr std::size_t kExhaustiveStep = 7;
#else
inline constexpr std::size_t kExhaustiveStep = 1;
#endif
#else
inline constexpr std::size_t kExhaustiveStep = 1;
#endif

using Page = std::array<std::byte, kPageSize>;

// A page that differs for every number; 0 is the zero page.
inline Page page_of(std::uint64_t number) {
  Page page{};
  if (number == 0) return page;
  std::mt19937_64 random(number);
  for (std::size_t i = 0; i < kPageSize; i += sizeof(std::uint64_t)) {
    const std::uint64_t value = random();
    std::memcpy(page.data() + i, &value, sizeof value);
  }
  return page;
}

// A key that several stores and openings of a test share.
class TestKey final : public KeySource {
 public:
  explicit TestKey(std::uint8_t first = 1) { bytes_[0] = std::byte{first}; }
  Result<SecretBytes> key() override { return SecretBytes::copy_of(bytes_); }
  Result<void> erase() override { return {}; }

 private:
  std::array<std::byte, kPartitionKeyBytes> bytes_{};
};

inline SealedStoreOptions options_for_test(Medium& medium, KeySource& key,
                                           RollbackAnchor* anchor = nullptr,
                                           std::uint64_t page_count = 0) {
  return {.medium = medium,
          .key = key,
          .purpose = kMemoryPurpose,
          .anchor = anchor,
          .page_count = page_count};
}

inline Result<Page> read_page(SealedStore& store, std::uint64_t page) {
  Page content;
  content.fill(std::byte{0xee});
  TRY(store.get(PageIndex(page), content));
  return content;
}

// The first error in what a store of pages gives, or nothing if all of it is as expected.
inline std::optional<Errc> first_error(SealedStore& store) {
  for (std::uint64_t i = 0; i < store.page_count(); ++i) {
    const auto page = read_page(store, i);
    if (!page) return page.error().code;
  }
  return std::nullopt;
}

}  // namespace bulkhead
