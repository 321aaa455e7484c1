// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

#include "base/fd.h"
#include "base/mapping.h"
#include "seal/medium.h"

namespace bulkhead {

// Memory of this process, for pages that are sealed but stay on the machine. Address space is
// reserved up to the capacity; memory is used for what was written and not discarded.
class MemoryMedium final : public Medium {
 public:
  static Result<MemoryMedium> create(std::uint64_t capacity_bytes);

  MemoryMedium(MemoryMedium&& other) noexcept;
  MemoryMedium& operator=(MemoryMedium&&) = delete;

  Result<void> read_at(std::uint64_t offset, std::span<std::byte> bytes) override;
  Result<void> write_at(std::uint64_t offset, std::span<const std::byte> bytes) override;
  Result<void> sync() override { return {}; }
  std::uint64_t size() override { return size_.load(std::memory_order_acquire); }
  Result<void> grow(std::uint64_t size_bytes) override;
  void discard(std::uint64_t offset, std::uint64_t length) override;
  std::span<std::byte> window(std::uint64_t offset, std::uint64_t length) override;

  // Memory in use, as the kernel counts it.
  std::uint64_t resident_bytes() const;

 private:
  MemoryMedium(Fd fd, Mapping mapping) : fd_(std::move(fd)), mapping_(std::move(mapping)) {}

  Fd fd_;
  Mapping mapping_;
  std::atomic<std::uint64_t> size_ = 0;
};

}  // namespace bulkhead
