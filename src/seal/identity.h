// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "crypto/random.h"

namespace bulkhead {

// 128 random bits of one kind. Kinds do not mix.
template <class Kind>
class RandomId {
 public:
  static constexpr std::size_t kBytes = 16;

  constexpr RandomId() = default;
  explicit RandomId(std::span<const std::byte, kBytes> bytes) {
    std::ranges::copy(bytes, bytes_.begin());
  }
  static Result<RandomId> random() {
    RandomId id;
    TRY(random_bytes(id.bytes_));
    return id;
  }

  std::span<const std::byte, kBytes> bytes() const { return bytes_; }
  bool operator==(const RandomId&) const = default;

 private:
  std::array<std::byte, kBytes> bytes_{};
};

using StoreId = RandomId<struct StoreIdKind>;          // names a store for its whole life
using SessionSalt = RandomId<struct SessionSaltKind>;  // makes a session's key its own

// What a store is for: a label of at most 15 bytes, mixed into every key. Pages sealed for one
// purpose do not open for another.
class Purpose {
 public:
  static constexpr std::size_t kBytes = 16;

  template <std::size_t N>
  consteval explicit Purpose(const char (&label)[N]) {
    static_assert(N <= kBytes, "a purpose has at most 15 characters");
    for (std::size_t i = 0; i + 1 < N; ++i) bytes_[i] = static_cast<std::byte>(label[i]);
  }
  explicit Purpose(std::span<const std::byte, kBytes> bytes) {
    std::ranges::copy(bytes, bytes_.begin());
  }

  std::span<const std::byte, kBytes> bytes() const { return bytes_; }
  bool operator==(const Purpose&) const = default;

 private:
  std::array<std::byte, kBytes> bytes_{};
};

inline constexpr Purpose kMemoryPurpose("memory");
inline constexpr Purpose kDiskPurpose("disk");
inline constexpr Purpose kSnapshotPurpose("snapshot");

// What keys are bound to besides the partition's own.
struct SealScope {
  Purpose purpose;
  StoreId store;
};

}  // namespace bulkhead
