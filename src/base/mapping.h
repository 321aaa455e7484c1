// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "base/address.h"
#include "base/result.h"

namespace bulkhead {

// Owns a range made by mmap(2). Move-only; unmaps in the destructor.
class Mapping {
 public:
  struct Request {
    std::size_t size_bytes = 0;
    int protection = 0;
    int flags = 0;
    int fd = -1;
    std::uint64_t offset = 0;
  };

  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { reset(); }

  static Result<Mapping> create(const Request& request);

  std::byte* data() const { return static_cast<std::byte*>(base_); }
  Hva host() const { return Hva(reinterpret_cast<std::uintptr_t>(base_)); }
  std::size_t size() const { return size_; }
  std::span<std::byte> bytes() const { return {data(), size_}; }
  void reset();

 private:
  Mapping(void* base, std::size_t size) : base_(base), size_(size) {}

  void* base_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace bulkhead
