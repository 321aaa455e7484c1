// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/mapping.h"
#include "base/result.h"

namespace bulkhead {

// The words of one ledger. A store is one aligned 64-bit store, in program order with the others:
// whoever reads the memory, or finds it after we were killed, sees a prefix of the stores.
class LedgerStorage {
 public:
  virtual ~LedgerStorage() = default;
  std::span<const std::uint64_t> words() const { return words_; }
  // Release order keeps the compiler from moving stores; x86 does not reorder them either.
  virtual void store(std::size_t index, std::uint64_t value) {
    CHECK(index < words_.size());
    std::atomic_ref<std::uint64_t>(words_[index]).store(value, std::memory_order_release);
  }

 protected:
  LedgerStorage() = default;
  std::span<std::uint64_t> words_;
};

// Of a monitor alone, and of tests.
class LedgerMemory : public LedgerStorage {
 public:
  explicit LedgerMemory(std::vector<std::uint64_t> words);
  explicit LedgerMemory(std::uint64_t frames);

 private:
  std::vector<std::uint64_t> memory_;
};

// A mapped file, which outlives its writer. Nothing is synced: it lies on a tmpfs, and a ledger of
// frames means nothing after the machine has restarted.
class LedgerFile final : public LedgerStorage {
 public:
  // The whole file, for reading and writing. Its bytes are foreign until Ledger::open.
  static Result<std::unique_ptr<LedgerFile>> open(int fd);
  // The same, after giving the file the size for so many frames.
  static Result<std::unique_ptr<LedgerFile>> create(int fd, std::uint64_t frames);

 private:
  explicit LedgerFile(Mapping mapping);

  Mapping mapping_;
};

}  // namespace bulkhead
