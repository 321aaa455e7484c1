// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "base/byte_reader.h"
#include "base/result.h"

// Private to src/kvm: the form of a saved state. u32 magic, u32 version, then sections of
// {u32 size, bytes} in an order that magic and version imply. Restored on the same architecture.

namespace bulkhead::kvm {

inline constexpr std::uint32_t kBlobVersion = 1;

class BlobWriter {
 public:
  // With room for `expected_bytes`, so that no outgrown copy of a guest's data stays on the heap.
  explicit BlobWriter(std::uint32_t magic, std::size_t expected_bytes = 0) {
    bytes_.reserve(expected_bytes);
    append(std::as_bytes(std::span(&magic, 1)));
    append(std::as_bytes(std::span(&kBlobVersion, 1)));
  }

  void put_bytes(std::span<const std::byte> section) {
    CHECK(section.size() <= UINT32_MAX);
    auto size = static_cast<std::uint32_t>(section.size());
    append(std::as_bytes(std::span(&size, 1)));
    append(section);
  }

  template <class T>
    requires std::is_trivially_copyable_v<T>
  void put(const T& section) {
    put_bytes(std::as_bytes(std::span(&section, 1)));
  }

  std::vector<std::byte> take() && { return std::move(bytes_); }

 private:
  void append(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }

  std::vector<std::byte> bytes_;
};

class BlobReader {
 public:
  static Result<BlobReader> open(std::span<const std::byte> bytes, std::uint32_t magic) {
    ByteReader reader(bytes);
    if (TRY(reader.read<std::uint32_t>()) != magic) {
      return Error{Errc::kMalformed, 0, "the saved state is not of this kind"};
    }
    if (TRY(reader.read<std::uint32_t>()) != kBlobVersion) {
      return Error{Errc::kUnsupported, 0, "the saved state is of another version"};
    }
    return BlobReader(reader);
  }

  Result<std::span<const std::byte>> get_bytes() {
    auto size = TRY(reader_.read<std::uint32_t>());
    return reader_.take(size);
  }

  template <class T>
    requires std::is_trivially_copyable_v<T>
  Result<T> get() {
    auto section = TRY(get_bytes());
    if (section.size() != sizeof(T)) {
      return Error{Errc::kMalformed, 0, "a part of the saved state has the wrong size"};
    }
    T value;
    std::memcpy(&value, section.data(), sizeof value);
    return value;
  }

  Result<void> finish() const {
    if (reader_.empty()) return {};
    return Error{Errc::kMalformed, 0, "the saved state is followed by other bytes"};
  }

 private:
  explicit BlobReader(ByteReader reader) : reader_(reader) {}

  ByteReader reader_;
};

}  // namespace bulkhead::kvm
