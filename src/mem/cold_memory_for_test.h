// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "base/fd.h"
#include "base/mapping.h"
#include "mem/cold_memory.h"

namespace bulkhead {

// For unit tests only: scrambles instead of sealing, fails on demand, and notes when cold memory
// breaks a vault's rules.
class FakeVault : public PageVault {
 public:
  Result<void> put(PageIndex page, ConstPageBytes plaintext) override {
    const Turn turn(*this, page);
    if (before_put) before_put(page);
    const std::scoped_lock lock(mutex_);
    if (refuses_puts) return Error{Errc::kIo, 0, "no room"};
    std::vector<std::byte>& copy = copies_[page.value()];
    copy.assign(plaintext.begin(), plaintext.end());
    for (std::byte& byte : copy) byte ^= kKey;
    return {};
  }
  Result<void> get(PageIndex page, PageBytes plaintext) override {
    const Turn turn(*this, page);
    if (before_get) before_get(page);
    const std::scoped_lock lock(mutex_);
    const auto copy = copies_.find(page.value());
    // What comes with an error is the most tempting: the right bytes.
    for (std::size_t i = 0; i < kPageSize; ++i) {
      plaintext[i] = copy == copies_.end() ? std::byte{0} : copy->second[i] ^ kKey;
    }
    if (broken.contains(page.value())) return Error{Errc::kMalformed, 0, "tampered with"};
    return {};
  }
  void forget(PageIndex page) override {
    const Turn turn(*this, page);
    const std::scoped_lock lock(mutex_);
    copies_.erase(page.value());
  }

  std::size_t size() {
    const std::scoped_lock lock(mutex_);
    return copies_.size();
  }
  void break_page(std::uint64_t page) {
    const std::scoped_lock lock(mutex_);
    broken.insert(page);
  }

  std::function<void(PageIndex)> before_put = {};  // set before threads use the vault
  std::function<void(PageIndex)> before_get = {};
  std::atomic<bool> refuses_puts = false;
  std::atomic<int> overlaps = 0;  // two calls at once for one page

 private:
  static constexpr std::byte kKey{0xa5};

  class Turn {
   public:
    Turn(FakeVault& vault, PageIndex page) : vault_(vault), page_(page.value()) {
      const std::scoped_lock lock(vault_.mutex_);
      if (!vault_.turns_.insert(page_).second) ++vault_.overlaps;
    }
    ~Turn() {
      const std::scoped_lock lock(vault_.mutex_);
      vault_.turns_.erase(page_);
    }

   private:
    FakeVault& vault_;
    std::uint64_t page_;
  };

  std::mutex mutex_;
  std::map<std::uint64_t, std::vector<std::byte>> copies_;
  std::set<std::uint64_t> broken;
  std::set<std::uint64_t> turns_;
};

class FakeObserver : public ColdObserver {
 public:
  void integrity_failed(PageIndex page, Error) override {
    failed_page = page.value();
    ++failures;
    failures.notify_all();
  }
  std::atomic<int> failures = 0;
  std::atomic<std::uint64_t> failed_page = 0;
};

// Memory as a guest has it, without a guest.
class TestRam {
 public:
  explicit TestRam(std::uint64_t page_count, std::uint64_t skipped_pages = 0)
      : pages(page_count), offset(skipped_pages * kPageSize) {
    EXPECT_EQ(::ftruncate(file.get(), static_cast<off_t>(offset + pages * kPageSize)), 0);
    mapping = Mapping::create({.size_bytes = pages * kPageSize,
                               .protection = PROT_READ | PROT_WRITE,
                               .flags = MAP_SHARED,
                               .fd = file.get(),
                               .offset = offset})
                  .value();
  }
  ColdExtent extent(std::uint64_t first = 0) const {
    return {mapping.host(), pages * kPageSize, file.get(), offset, PageIndex(first)};
  }
  std::byte* at(std::uint64_t page) const { return mapping.data() + page * kPageSize; }
  std::atomic<std::uint64_t>& cell(std::uint64_t page, std::uint64_t slot = 0) const {
    return *reinterpret_cast<std::atomic<std::uint64_t>*>(at(page) + slot * 64);
  }
  iovec piece(std::uint64_t page, std::uint64_t count = 1) const {
    return {at(page), count * kPageSize};
  }
  // Pages that the host spends on it.
  std::uint64_t resident() const {
    struct stat status{};
    EXPECT_EQ(::fstat(file.get(), &status), 0);
    return static_cast<std::uint64_t>(status.st_blocks) * 512 / kPageSize;
  }

  std::uint64_t pages;
  std::uint64_t offset;
  Fd file{::memfd_create("test-ram", MFD_CLOEXEC)};
  Mapping mapping;
};

class ColdMemoryTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kLimit = ColdMemory::kMinLimit;

  void SetUp() override {
    const Result<UserFault> possible = UserFault::create();
    if (!possible) GTEST_SKIP() << possible.error().what;
  }
  std::unique_ptr<ColdMemory> make(const ColdMemory::Options& options) {
    return ColdMemory::create(options, vault_, observer_).value();
  }
  std::unique_ptr<ColdMemory> make(const TestRam& ram, ColdMemory::Options options = {}) {
    if (options.limit_pages == 0) options.limit_pages = kLimit;
    std::unique_ptr<ColdMemory> cold = make(options);
    EXPECT_TRUE(cold->add_range(ram.extent()));
    return cold;
  }
  static void fill(const TestRam& ram, std::uint64_t seed = 1) {
    for (std::uint64_t page = 0; page < ram.pages; ++page) ram.cell(page) = page + seed;
  }
  static void expect_filled(const TestRam& ram, std::uint64_t seed = 1) {
    for (std::uint64_t page = 0; page < ram.pages; ++page) {
      ASSERT_EQ(ram.cell(page), page + seed) << page;
    }
  }

  FakeVault vault_;
  FakeObserver observer_;
};

}  // namespace bulkhead
