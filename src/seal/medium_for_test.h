// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/thread_annotations.h"
#include "seal/medium.h"

namespace bulkhead {

// A medium in memory that a test can look into, damage, limit, and whose every write it remembers.
class TestMedium final : public Medium {
 public:
  struct Operation {
    std::uint64_t offset = 0;
    std::vector<std::byte> bytes;
    bool is_sync = false;
  };

  TestMedium() = default;
  explicit TestMedium(std::vector<std::byte> content) : bytes(std::move(content)) {}

  Result<void> read_at(std::uint64_t offset, std::span<std::byte> out) override {
    const MutexLock lock(mutex_);
    if (!range_fits(offset, out.size(), bytes.size())) {
      return Error{Errc::kTruncated, 0, "the test's medium ends too early"};
    }
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return {};
  }

  Result<void> write_at(std::uint64_t offset, std::span<const std::byte> in) override {
    const MutexLock lock(mutex_);
    if (fail_writes ||
        !range_fits(offset, in.size(), std::min<std::uint64_t>(quota, bytes.size()))) {
      return Error{Errc::kExhausted, 0, "the test's medium is full"};
    }
    std::ranges::copy(in, bytes.begin() + static_cast<std::ptrdiff_t>(offset));
    if (record) history.push_back({offset, {in.begin(), in.end()}, false});
    return {};
  }

  Result<void> sync() override {
    const MutexLock lock(mutex_);
    if (fail_syncs) return Error{Errc::kIo, 0, "the test's medium fails to sync"};
    if (record) history.push_back({0, {}, true});
    return {};
  }

  std::uint64_t size() override {
    const MutexLock lock(mutex_);
    return bytes.size();
  }

  Result<void> grow(std::uint64_t size_bytes) override {
    const MutexLock lock(mutex_);
    // A sparse file lets itself grow beyond what there is space for; writing fails then.
    if (size_bytes > quota && !sparse) return Error{Errc::kExhausted, 0, "the quota is used up"};
    if (size_bytes > bytes.size()) bytes.resize(size_bytes);
    return {};
  }

  void discard(std::uint64_t offset, std::uint64_t length) override {
    const MutexLock lock(mutex_);
    discarded += length;
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{0});
  }

  std::vector<std::byte> bytes;
  std::vector<Operation> history;
  std::uint64_t quota = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t discarded = 0;
  bool record = false;
  bool sparse = false;
  bool fail_writes = false;
  bool fail_syncs = false;

 private:
  Mutex mutex_;
};

}  // namespace bulkhead
