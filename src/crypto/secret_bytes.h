// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "base/result.h"
#include "crypto/secret_arena.h"

namespace bulkhead {

// A secret of a fixed length in the process's SecretArena. Move-only; wiped in the destructor.
class SecretBytes {
 public:
  // Zeroes, to be filled. kExhausted when the arena is full.
  static Result<SecretBytes> create(std::size_t size_bytes);
  // A copy of the bytes. Wiping the original is the caller's business.
  static Result<SecretBytes> copy_of(std::span<const std::byte> bytes);
  static Result<SecretBytes> random(std::size_t size_bytes);

  SecretBytes(SecretBytes&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes() { reset(); }

  std::span<std::byte> bytes() { return bytes_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  Result<SecretBytes> clone() const { return copy_of(bytes_); }
  void reset();

 private:
  explicit SecretBytes(std::span<std::byte> bytes) : bytes_(bytes) {}

  std::span<std::byte> bytes_;
};

// Takes as long for equal as for different bytes of one length. Lengths are not secret.
bool constant_time_equal(std::span<const std::byte> one, std::span<const std::byte> other);

// Overwrites, even if the compiler knows that nobody reads the bytes again.
void wipe(std::span<std::byte> bytes);

}  // namespace bulkhead
