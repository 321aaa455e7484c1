// SPDX-License-Identifier: Apache-2.0
#include "crypto/openssl_memory.h"

#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "crypto/aead.h"

namespace bulkhead {
namespace {

// How often the secret occurs in this process's memory, outside of the arena: what whoever reads
// /proc/<pid>/mem or a dump finds. AES's first two round keys are the key itself.
std::size_t copies_outside_the_arena(const SecretBytes& secret) {
  std::ifstream maps("/proc/self/maps");
  const Fd memory = Fd::open("/proc/self/mem", 0).value();
  std::size_t found = 0;
  const std::boyer_moore_searcher needle(secret.bytes().begin(), secret.bytes().end());
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    char rights[5] = "";
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, rights) != 3) continue;
    const auto arena = reinterpret_cast<std::uintptr_t>(secret.bytes().data());
    if (rights[1] != 'w' || (begin <= arena && arena < end)) continue;
    std::vector<std::byte> part(std::min<std::size_t>(end - begin, 64 << 20));
    const ssize_t got = ::pread(memory.get(), part.data(), part.size(), static_cast<off_t>(begin));
    if (got <= 0) continue;
    const auto last = part.begin() + got;
    found += std::search(part.begin(), last, needle) != last ? 1 : 0;
  }
  return found;
}

std::size_t copies_of_a_key_in_use() {
  const SecretBytes key = SecretBytes::random(kAeadKeyBytes).value();
  AeadCounter counter(1);
  Aead aead = Aead::create(key).value();
  EXPECT_TRUE(
      aead.seal(counter.take().value(), {.nonce = AeadNonce{}, .associated = {}, .text = {}}, {}));
  return copies_outside_the_arena(key);
}

// OpenSSL's allocator can only be changed before its first use: the test needs a process of its
// own.
int run_alone() {
  const char* const arguments[] = {"/proc/self/exe", "--gtest_filter=OpenSslMemory.*InAProcess*",
                                   "--gtest_also_run_disabled_tests", nullptr};
  pid_t child = 0;
  const int failed = ::posix_spawn(&child, arguments[0], nullptr, nullptr,
                                   const_cast<char* const*>(arguments), environ);
  int status = -1;
  if (failed != 0 || ::waitpid(child, &status, 0) != child) return -1;
  return status;
}

TEST(OpenSslMemory, KeysInUseLieInTheArenaOnly) {
  EXPECT_EQ(run_alone(), 0);
}

TEST(OpenSslMemory, DISABLED_InAProcessOfItsOwn) {
  ASSERT_TRUE(keep_openssl_memory_secret());
  const std::size_t used = process_secrets()->used_bytes();
  EXPECT_EQ(copies_of_a_key_in_use(), 0u);
  EXPECT_EQ(openssl_allocations_not_secret(), 0u);
  EXPECT_EQ(process_secrets()->used_bytes(), used) << "all was given back";
  // A full arena is not the end: OpenSSL then uses the heap, and we say so.
  std::vector<SecretBytes> hoard;
  while (auto more = SecretBytes::create(64)) hoard.push_back(std::move(*more));
  for (int i = 0; i < 8 && !hoard.empty(); ++i) hoard.pop_back();
  EXPECT_GT(copies_of_a_key_in_use(), 0u);
  EXPECT_GT(openssl_allocations_not_secret(), 0u);
}

// The control: without the arena the search finds the key, so it would find it above.
TEST(OpenSslMemory, WithoutItTheHeapShowsTheKey) {
  EXPECT_GT(copies_of_a_key_in_use(), 0u);
}

TEST(OpenSslMemory, ComesTooLateOnceOpenSslHasAllocated) {
  ASSERT_TRUE(Aead::create(SecretBytes::random(kAeadKeyBytes).value()));
  EXPECT_EQ(keep_openssl_memory_secret().error().code, Errc::kBusy);
}

}  // namespace
}  // namespace bulkhead
