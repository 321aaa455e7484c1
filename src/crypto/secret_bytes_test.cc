// SPDX-License-Identifier: Apache-2.0
#include "crypto/secret_bytes.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/address.h"
#include "crypto/random.h"

namespace bulkhead {
namespace {

using Storage = SecretArena::Storage;

// The sanitizers replace mlock(2) by nothing.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kMlockIsIgnored = true;
#else
constexpr bool kMlockIsIgnored = false;
#endif
#else
constexpr bool kMlockIsIgnored = false;
#endif

// The flags that the kernel has for the mapping around an address ("VmFlags" of smaps).
std::string mapping_flags(const void* address) {
  std::ifstream smaps("/proc/self/smaps");
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
      inside = begin <= wanted && wanted < end;
    }
    if (inside && line.starts_with("VmFlags:")) return line + " ";
  }
  return "";
}

class ArenaOf : public testing::TestWithParam<Storage> {
 protected:
  void SetUp() override {
    auto made = SecretArena::create(8 * kKiB, GetParam());
    if (!made) GTEST_SKIP() << "the host does not grant this: " << made.error().what;
    arena = std::move(made).value();
  }
  std::unique_ptr<SecretArena> arena;
};

TEST_P(ArenaOf, GivesZeroedPlacesAndWipesThem) {
  const auto bytes = arena->allocate(100);
  ASSERT_EQ(bytes.size(), 100u);
  std::ranges::fill(bytes, std::byte{0x77});
  arena->release(bytes.data());
  // The mapping is still there: what was a secret reads as zero.
  EXPECT_TRUE(std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; }));
  EXPECT_EQ(arena->used_bytes(), 0u);
}

TEST_P(ArenaOf, DoesNotOverlapAndSaysWhenItIsFull) {
  std::vector<std::span<std::byte>> all;
  for (std::size_t size = 1;; size = size % 200 + 37) {
    const auto bytes = arena->allocate(size);
    if (bytes.empty()) break;
    EXPECT_TRUE(std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; }));
    std::ranges::fill(bytes, static_cast<std::byte>(all.size() + 1));
    all.push_back(bytes);
  }
  ASSERT_GT(all.size(), 20u);
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_TRUE(std::ranges::all_of(
        all[i], [i](std::byte b) { return b == static_cast<std::byte>(i + 1); }));
  }
  for (const auto& bytes : all) arena->release(bytes.data());
  EXPECT_EQ(arena->allocate(arena->size()).size(), arena->size());
}

TEST_P(ArenaOf, IsKeptFromDumps) {
  const std::string flags = mapping_flags(arena->allocate(1).data());
  if (flags.empty()) GTEST_SKIP() << "no smaps here";
  // memfd_secret's mappings are locked and excluded from dumps by their nature.
  EXPECT_TRUE(flags.find(" dd ") != std::string::npos) << flags;
  if (GetParam() != Storage::kOrdinary && !kMlockIsIgnored) {
    EXPECT_TRUE(flags.find(" lo ") != std::string::npos) << flags;
  }
}

TEST_P(ArenaOf, IsNotInAChild) {
  const auto secret = arena->allocate(16);
  std::ranges::fill(secret, std::byte{0x77});
  const pid_t child = ::fork();
  if (child == 0) {
    // Absent (the read kills) or wiped.
    if (GetParam() == Storage::kHidden) {
      std::array<int, 2> pipe{};
      if (::pipe(pipe.data()) != 0) ::_exit(2);
      ::_exit(::write(pipe[1], secret.data(), 16) < 0 ? 0 : 1);  // EFAULT
    }
    ::_exit(secret[0] == std::byte{0} ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(secret[0], std::byte{0x77});
}

INSTANTIATE_TEST_SUITE_P(SecretArena, ArenaOf,
                         testing::Values(Storage::kHidden, Storage::kLocked, Storage::kOrdinary));

TEST(SecretArena, TakesTheBestThatTheHostHas) {
  const bool hidden = SecretArena::create(kPageSize, Storage::kHidden).has_value();
  EXPECT_EQ(SecretArena::create(kPageSize).value()->is_hidden_from_kernel(), hidden);
}

TEST(SecretBytes, AreWipedWhenTheyEnd) {
  std::span<std::byte> place;
  {
    SecretBytes secret = SecretBytes::random(48).value();
    place = secret.bytes();
    EXPECT_FALSE(std::ranges::all_of(place, [](std::byte b) { return b == std::byte{0}; }));
  }
  EXPECT_TRUE(std::ranges::all_of(place, [](std::byte b) { return b == std::byte{0}; }));
}

TEST(SecretBytes, MoveWithoutLeavingACopy) {
  SecretBytes first = SecretBytes::random(32).value();
  const std::vector<std::byte> content(first.bytes().begin(), first.bytes().end());
  SecretBytes second = std::move(first);
  EXPECT_EQ(first.size(), 0u);
  EXPECT_TRUE(constant_time_equal(second.bytes(), content));
  SecretBytes third = SecretBytes::random(32).value();
  const std::span<std::byte> place = third.bytes();
  third = std::move(second);
  EXPECT_TRUE(constant_time_equal(third.bytes(), content));
  EXPECT_TRUE(std::ranges::all_of(place, [](std::byte b) { return b == std::byte{0}; }));
}

TEST(SecretBytes, DoNotSpillOverWhenTheArenaIsFull) {
  std::vector<SecretBytes> hoard;
  for (;;) {
    auto more = SecretBytes::create(4096);
    if (!more) {
      EXPECT_EQ(more.error().code, Errc::kExhausted);
      break;
    }
    ASSERT_TRUE(process_secrets()->contains(more->bytes().data()));
    hoard.push_back(std::move(*more));
  }
  hoard.clear();
  EXPECT_TRUE(SecretBytes::create(4096));
}

TEST(ConstantTimeEqual, IsEqual) {
  const std::array<std::byte, 3> one{std::byte{1}, std::byte{2}, std::byte{3}};
  std::array<std::byte, 3> other = one;
  EXPECT_TRUE(constant_time_equal(one, other));
  other[2] = std::byte{4};
  EXPECT_FALSE(constant_time_equal(one, other));
  EXPECT_FALSE(constant_time_equal(one, std::span(one).first(2)));
  EXPECT_TRUE(constant_time_equal({}, {}));
}

TEST(Random, DoesNotRepeat) {
  std::set<std::array<std::byte, 16>> seen;
  for (int i = 0; i < 100; ++i) {
    std::array<std::byte, 16> bytes{};
    ASSERT_TRUE(random_bytes(bytes));
    EXPECT_TRUE(seen.insert(bytes).second);
  }
}

}  // namespace
}  // namespace bulkhead
