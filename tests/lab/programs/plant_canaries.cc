// SPDX-License-Identifier: Apache-2.0
// plant-canaries N: puts N canaries into its memory, each in a page of its own, says "planted N run
// ID", and keeps them. Lines on its input: "check" answers "intact N", how many are still there;
// "end" ends it. At the end of its input it waits for ever: in a guest there may be none.
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "canary.h"

namespace {

constexpr std::size_t kWordsPerPage = 4096 / sizeof(std::uint64_t);

std::uint64_t random_word() {
  std::uint64_t word = 0;
  if (::getrandom(&word, sizeof word, 0) != sizeof word) std::abort();
  return word;
}

// Where in its page: anywhere that 64 bytes fit.
std::size_t place(std::size_t index) {
  return index * 61 % (kWordsPerPage - canary::Words().size());
}

// Straight into its page, word by word: no other copy of it shall stay on the stack.
void plant(std::uint64_t* page, std::uint64_t run, std::size_t index) {
  canary::Words words = canary::make(random_word(), {.run = run, .index = index});
  std::memcpy(page + place(index), words.data(), sizeof words);
  ::explicit_bzero(words.data(), sizeof words);
}

std::size_t count_intact(const std::uint64_t* pages, std::size_t count, std::uint64_t run) {
  std::size_t intact = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto name = canary::read(pages + i * kWordsPerPage + place(i));
    if (name && name->run == run && name->index == i) ++intact;
  }
  return intact;
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t count = argc == 2 ? std::strtoull(argv[1], nullptr, 10) : 0;
  if (count == 0) {
    std::fprintf(stderr, "usage: plant-canaries N\n");
    return 2;
  }
  void* memory =
      ::mmap(nullptr, count * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("plant-canaries");
    return 1;
  }
  auto* pages = static_cast<std::uint64_t*>(memory);
  const std::uint64_t run = random_word();
  for (std::size_t i = 0; i < count; ++i) plant(pages + i * kWordsPerPage, run, i);
  std::printf("planted %zu run %016" PRIx64 "\n", count, run);
  std::fflush(stdout);
  char line[64];
  while (std::fgets(line, sizeof line, stdin) != nullptr) {
    if (std::strcmp(line, "end\n") == 0) return 0;
    if (std::strcmp(line, "check\n") != 0) continue;
    std::printf("intact %zu\n", count_intact(pages, count, run));
    std::fflush(stdout);
  }
  for (;;) ::pause();
}
