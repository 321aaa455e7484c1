// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "base/byte_reader.h"
#include "base/result.h"

namespace bulkhead {

// Collects a device's state, little-endian, fields in a fixed order.
class StateWriter {
 public:
  template <class T>
    requires std::is_trivially_copyable_v<T>
  void put(const T& value) {
    put_bytes(std::as_bytes(std::span(&value, 1)));
  }
  void put_bytes(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

// Reads it back. The bytes are foreign: a snapshot may be old, damaged or hostile.
class StateReader {
 public:
  explicit StateReader(std::span<const std::byte> bytes) : reader_(bytes) {}

  template <class T>
    requires std::is_trivially_copyable_v<T>
  Result<T> get() {
    T value{};
    TRY(get_bytes(std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }
  Result<void> get_bytes(std::span<std::byte> out) {
    auto bytes = TRY(reader_.take(out.size()));
    if (!bytes.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
    return {};
  }
  bool empty() const { return reader_.empty(); }

 private:
  ByteReader reader_;
};

// A device whose state can be saved and restored. Both are called with all vCPUs stopped and the
// device quiet (no request under way). What save() writes starts with a version number, and
// restore() checks every value that the device later relies on.
class Stateful {
 public:
  virtual ~Stateful() = default;
  virtual void save(StateWriter& writer) const = 0;
  virtual Result<void> restore(StateReader& reader) = 0;
};

}  // namespace bulkhead
