// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

namespace bulkhead::cli {

// A character of 5 columns and 9 rows; bit n of a column is row n from the top. The base line is
// below row 6.
using Glyph = std::array<std::uint16_t, 5>;

inline constexpr int kGlyphAdvance = 6;
inline constexpr int kGlyphRows = 9;
inline constexpr int kGlyphAscent = 7;

// Of a printable ASCII character; '?' for every other.
const Glyph& glyph(char character);

}  // namespace bulkhead::cli
