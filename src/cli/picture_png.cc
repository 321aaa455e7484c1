// SPDX-License-Identifier: Apache-2.0
#include <png.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

#include "cli/error.h"
#include "cli/picture.h"
#include "cli/pixel_font.h"

namespace bulkhead::cli {
namespace {

constexpr double kScale = 2;
constexpr long kMaxSide = 16384;

long pixel(double length) {
  return std::lround(length * kScale);
}

struct Area {
  long left, top, right, bottom;
};

class Canvas {
 public:
  Canvas(long width, long height)
      : width_(width),
        height_(height),
        bytes_(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3, 0xff) {}

  void fill(const Area& area, const Colour& colour) {
    for (long y = std::max(area.top, 0L); y < std::min(area.bottom, height_); ++y) {
      for (long x = std::max(area.left, 0L); x < std::min(area.right, width_); ++x) {
        std::uint8_t* at = bytes_.data() + static_cast<std::size_t>((y * width_ + x) * 3);
        at[0] = colour.red;
        at[1] = colour.green;
        at[2] = colour.blue;
      }
    }
  }

  void draw(const Box& box) {
    fill({pixel(box.x), pixel(box.y), pixel(box.x + box.width), pixel(box.y + box.height)},
         box.colour);
  }

  // Capitals of usual fonts are 0.73 of the font's size.
  void draw(const Label& label) {
    const long dot = std::max(1L, std::lround(label.size * kScale * 0.73 / kGlyphAscent));
    const long length = static_cast<long>(label.text.size()) * kGlyphAdvance * dot - dot;
    long x = pixel(label.x);
    if (label.anchor == Anchor::kMiddle) x -= length / 2;
    if (label.anchor == Anchor::kEnd) x -= length;
    for (const char character : label.text) {
      draw_glyph(glyph(character), {x, pixel(label.y) - kGlyphAscent * dot, dot, 0}, label);
      x += kGlyphAdvance * dot;
    }
  }

  std::span<const std::uint8_t> bytes() const { return bytes_; }

 private:
  // `place`: left, top, and the size of a dot.
  void draw_glyph(const Glyph& shape, const Area& place, const Label& label) {
    const long dot = place.right;
    for (long column = 0; column < static_cast<long>(shape.size()); ++column) {
      for (long row = 0; row < kGlyphRows; ++row) {
        if ((shape[static_cast<std::size_t>(column)] >> row & 1) == 0) continue;
        const long x = place.left + column * dot;
        const long y = place.top + row * dot;
        fill({x, y, x + dot + (label.bold ? std::max(1L, dot / 2) : 0), y + dot}, label.colour);
      }
    }
  }

  long width_;
  long height_;
  std::vector<std::uint8_t> bytes_;
};

}  // namespace

std::string to_png(const Picture& picture) {
  const long width = pixel(picture.width);
  const long height = pixel(picture.height);
  if (width < 1 || height < 1 || width > kMaxSide || height > kMaxSide) {
    throw HostError("the picture would be too large");
  }
  Canvas canvas(width, height);
  for (const Box& box : picture.boxes) canvas.draw(box);
  for (const Label& label : picture.labels) canvas.draw(label);

  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string file(size, '\0');
  if (png_image_write_to_memory(&image, file.data(), &size, 0, canvas.bytes().data(), 0, nullptr) ==
      0) {
    throw HostError(std::string("cannot make the picture: ") + image.message);
  }
  file.resize(size);
  return file;
}

}  // namespace bulkhead::cli
