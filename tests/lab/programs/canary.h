// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <optional>

// 64 bytes that can be told from all others by how their words relate to each other, not by any
// constant: a program that looks for them holds none of them, so it cannot find itself.

namespace canary {

using Words = std::array<std::uint64_t, 8>;

inline constexpr std::uint64_t kFirst = 0x6a35c1d9b7e2f083;
inline constexpr std::uint64_t kSecond = 0xd1b54a32d192ed03;

struct Name {
  std::uint64_t run = 0;  // of the program that planted it
  std::uint64_t index = 0;
  auto operator<=>(const Name&) const = default;
};

constexpr std::uint64_t partner(std::uint64_t word) {
  return std::rotl(word, 13) ^ kFirst;
}

// `random` makes each one differ from all others in every word.
constexpr Words make(std::uint64_t random, const Name& name) {
  Words words{};
  words[0] = random;
  words[1] = partner(random);
  words[2] = name.run ^ std::rotl(random, 29) ^ kSecond;
  words[3] = name.index ^ std::rotl(random, 41) * kSecond;
  words[4] = words[2] * (random | 1);
  words[5] = words[3] + std::rotl(words[4], 17);
  words[6] = words[4] ^ words[5] ^ std::rotl(words[1], 5);
  words[7] = ~(words[0] + words[6] * kFirst);
  return words;
}

// The first two words decide nearly always: this is cheap where there is none.
inline std::optional<Name> read(const std::uint64_t* words) {
  if (words[1] != partner(words[0])) return std::nullopt;
  const Name name{.run = words[2] ^ std::rotl(words[0], 29) ^ kSecond,
                  .index = words[3] ^ std::rotl(words[0], 41) * kSecond};
  const Words whole = make(words[0], name);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    if (words[i] != whole[i]) return std::nullopt;
  }
  return name;
}

}  // namespace canary
