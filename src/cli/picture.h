// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

// A drawing of boxes and lines of text, and what it looks like as a file. Lengths are in pixels of
// the SVG; y grows downwards. Texts are ASCII.

namespace bulkhead::cli {

struct Colour {
  std::uint8_t red = 0;
  std::uint8_t green = 0;
  std::uint8_t blue = 0;
  bool operator==(const Colour&) const = default;
};

struct Box {
  double x = 0;
  double y = 0;
  double width = 0;
  double height = 0;
  Colour colour;
};

enum class Anchor : std::uint8_t { kStart, kMiddle, kEnd };

struct Label {
  double x = 0;
  double y = 0;     // of the base line
  double size = 0;  // of the font
  Anchor anchor = Anchor::kStart;
  bool bold = false;
  Colour colour;
  std::string text;
};

struct Picture {
  double width = 0;
  double height = 0;
  std::string title;
  std::vector<Box> boxes;  // later ones cover earlier ones
  std::vector<Label> labels;
};

std::string to_svg(const Picture& picture);
// Twice as many pixels each way, to be sharp. Throws HostError.
std::string to_png(const Picture& picture);

}  // namespace bulkhead::cli
