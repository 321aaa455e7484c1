// SPDX-License-Identifier: Apache-2.0
#include "devices/memory_grants.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "base/byte_reader.h"
#include "base/mapping.h"
#include "devices/fakes_for_test.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kSize = 64 * kMiB;
constexpr std::uint64_t kPages = kSize / kPageSize;
constexpr GranteeId kTools = GranteeId::kHostTools;
constexpr GrantRights kBoth{.read = true, .write = true};
constexpr GrantRights kReadOnly{.read = true, .write = false};

class MemoryGrantsTest : public testing::Test {
 protected:
  Result<GrantHandle> grant(std::uint64_t first, std::uint64_t count,
                            GrantRights rights = kReadOnly) {
    return grants_.grant({Gfn(first), count, kTools, rights});
  }
  Result<void> read(std::uint64_t from, std::size_t count) {
    std::vector<std::byte> bytes(count);
    return grants_.read(kTools, Gpa(from), bytes);
  }
  Errc read_error(std::uint64_t from, std::size_t count) {
    const Result<void> done = read(from, count);
    return done ? Errc::kIo : done.error().code;
  }

  std::unique_ptr<GuestMemory> memory_ = GuestMemory::create({.size_bytes = kSize}).value();
  MemoryGrants grants_{*memory_};
};

TEST_F(MemoryGrantsTest, GranteeReadsAndWritesWhatWasGranted) {
  const std::uint64_t secret = 0x1234'5678;
  ASSERT_TRUE(memory_->store<std::uint64_t>(Gpa(5 * kPageSize), secret));
  std::uint64_t value = 0;
  const auto bytes = std::as_writable_bytes(std::span(&value, 1));
  EXPECT_EQ(grants_.read(kTools, Gpa(5 * kPageSize), bytes).error().code, Errc::kPermission);
  EXPECT_EQ(value, 0u);
  const GrantHandle handle = grant(5, 1, kBoth).value();
  ASSERT_TRUE(grants_.read(kTools, Gpa(5 * kPageSize), bytes));
  EXPECT_EQ(value, secret);
  value = 42;
  ASSERT_TRUE(grants_.write(kTools, Gpa(5 * kPageSize), bytes));
  EXPECT_EQ(memory_->load<std::uint64_t>(Gpa(5 * kPageSize)).value(), 42u);
  EXPECT_FALSE(grants_.read(GranteeId{1}, Gpa(5 * kPageSize), bytes));
  ASSERT_TRUE(grants_.revoke(handle));
  EXPECT_FALSE(grants_.read(kTools, Gpa(5 * kPageSize), bytes));
  EXPECT_FALSE(grants_.write(kTools, Gpa(5 * kPageSize), bytes));
}

TEST_F(MemoryGrantsTest, AccessesStayWithinTheGrant) {
  ASSERT_TRUE(grant(5, 2));
  EXPECT_TRUE(read(5 * kPageSize, 2 * kPageSize));
  EXPECT_TRUE(read(7 * kPageSize - 1, 1));
  EXPECT_EQ(read_error(7 * kPageSize - 1, 2), Errc::kPermission);
  EXPECT_EQ(read_error(5 * kPageSize - 1, 2), Errc::kPermission);
  EXPECT_EQ(read_error(5 * kPageSize, 0), Errc::kOutOfRange);
  EXPECT_EQ(read_error(~std::uint64_t{0}, 2), Errc::kOutOfRange);
  EXPECT_EQ(read_error(~std::uint64_t{0} - 8, 8), Errc::kPermission);
  std::array<std::byte, 8> bytes{};
  EXPECT_EQ(grants_.write(kTools, Gpa(5 * kPageSize), bytes).error().code, Errc::kPermission);
}

TEST_F(MemoryGrantsTest, AnAccessIsBounded) {
  ASSERT_TRUE(grant(0, kPages));
  EXPECT_TRUE(read(0, MemoryGrants::kMaxAccess));
  EXPECT_EQ(read_error(0, MemoryGrants::kMaxAccess + 1), Errc::kOutOfRange);
}

TEST_F(MemoryGrantsTest, OnlyRamIsGranted) {
  EXPECT_EQ(grant(kPages, 1).error().code, Errc::kOutOfRange);
  EXPECT_EQ(grant(kPages - 1, 2).error().code, Errc::kOutOfRange);
  EXPECT_EQ(grant(0, ~std::uint64_t{0}).error().code, Errc::kOutOfRange);
  EXPECT_EQ(grant(1, ~std::uint64_t{0}).error().code, Errc::kOutOfRange);
  EXPECT_EQ(grant(std::uint64_t{1} << 52, 1).error().code, Errc::kOutOfRange);  // 2^64 bytes
  EXPECT_EQ(grant(0xe0000, 1).error().code, Errc::kOutOfRange);                 // PCI
  EXPECT_EQ(grants_.count(), 0u);
  EXPECT_TRUE(grant(kPages - 1, 1));
}

TEST_F(MemoryGrantsTest, SaveAndRestore) {
  ASSERT_TRUE(grant(5, 2));
  ASSERT_TRUE(grant(kPages - 1, 1, kBoth));
  const std::vector<std::byte> state = state_of(grants_);
  MemoryGrants other(*memory_);
  ASSERT_TRUE(restore_state(other, state));
  EXPECT_EQ(other.count(), 2u);
  EXPECT_EQ(state_of(other), state);
  GrantTable beyond;
  ASSERT_TRUE(beyond.add({Gfn(kPages), 1, kTools, kBoth}));
  EXPECT_FALSE(restore_state(other, state_of(beyond)));
  EXPECT_EQ(other.count(), 2u);
  other.revoke_all();
  EXPECT_FALSE(other.next(GrantHandle::kNone));
}

// A buffer whose second page stops who copies into it, until the guest has written its secret or a
// while has passed: a revocation that waits for the copy lets nobody write.
class StoppingBuffer {
 public:
  static constexpr std::size_t kSize = 4 * kPageSize;

  StoppingBuffer() {
    CHECK(::mprotect(trap(), kPageSize, PROT_NONE) == 0);
    current = this;
    struct sigaction action{};
    action.sa_handler = [](int) { current->wait(); };
    CHECK(sigaction(SIGSEGV, &action, &before_) == 0);
  }
  ~StoppingBuffer() { CHECK(sigaction(SIGSEGV, &before_, nullptr) == 0); }
  StoppingBuffer(const StoppingBuffer&) = delete;
  StoppingBuffer& operator=(const StoppingBuffer&) = delete;

  std::span<std::byte> bytes() { return memory_.bytes(); }

  std::atomic<bool> reached = false;
  std::atomic<bool> written = false;

 private:
  static inline StoppingBuffer* current = nullptr;

  std::byte* trap() { return memory_.data() + kPageSize; }
  void wait() {
    reached = true;
    for (int i = 0; i < 200 && !written; ++i) ::usleep(1000);
    if (::mprotect(trap(), kPageSize, PROT_READ | PROT_WRITE) != 0) ::_exit(1);
  }

  Mapping memory_ = Mapping::create({.size_bytes = kSize,
                                     .protection = PROT_READ | PROT_WRITE,
                                     .flags = MAP_PRIVATE | MAP_ANONYMOUS})
                        .value();
  struct sigaction before_{};
};

// What the guest writes after a revocation has returned never reaches the grantee, even if its
// access was under way.
TEST_F(MemoryGrantsTest, NoAccessOutlivesItsRevocation) {
  constexpr std::uint64_t kSecretPlace = 2 * kPageSize;
  StoppingBuffer buffer;
  const GrantHandle handle = grant(0, 4).value();
  std::atomic<bool> copied = false;
  std::thread grantee([&] { copied = grants_.read(kTools, Gpa(0), buffer.bytes()).has_value(); });
  while (!buffer.reached) std::this_thread::yield();
  EXPECT_TRUE(grants_.revoke(handle));
  EXPECT_TRUE(memory_->store<std::uint64_t>(Gpa(kSecretPlace), 42));
  buffer.written = true;
  grantee.join();
  EXPECT_TRUE(copied);
  EXPECT_EQ(get_le<std::uint64_t>(buffer.bytes(), kSecretPlace), 0u);
}

}  // namespace
}  // namespace bulkhead
