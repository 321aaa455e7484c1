// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <charconv>
#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "cli/error.h"

// Parsers for the values of options. All throw UsageError naming the option.

namespace bulkhead::cli {

template <std::integral N>
struct Limits {
  N least;
  N most;
};

template <std::unsigned_integral N>
N parse_number(std::string_view option, std::string_view text, Limits<N> limits) {
  N number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, number);
  if (code == std::errc{} && stop == end && number >= limits.least && number <= limits.most) {
    return number;
  }
  throw UsageError(std::string(option) + " '" + std::string(text) + "' is not a number from " +
                   std::to_string(limits.least) + " to " + std::to_string(limits.most));
}

// The index of `text` among the choices.
std::size_t parse_choice(std::string_view option, std::string_view text,
                         std::initializer_list<std::string_view> choices);

// The parts of "a,b=c,d".
std::vector<std::string> split_commas(std::string_view text);

}  // namespace bulkhead::cli
