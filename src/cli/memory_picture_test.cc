// SPDX-License-Identifier: Apache-2.0
#include "cli/memory_picture.h"

#include <gtest/gtest.h>
#include <png.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/address.h"
#include "cli/pixel_font.h"

namespace bulkhead::cli {
namespace {

using host::MemoryMap;
using host::MemoryUse;

constexpr std::uint64_t kCell = kFrameSize;

// Two nodes with a hole between, some of every use, cells with several of them.
MemoryMap some_map(std::size_t partitions, std::size_t columns = 32) {
  MemoryMap map;
  map.columns = columns;
  map.totals.assign(host::kFirstPartition + partitions, 0);
  for (std::size_t i = 0; i < 40; ++i) {
    MemoryMap::Row row{
        .address = (i < 16 ? i : i + 8) * map.row_bytes(), .node = i < 16 ? 0 : 1, .cells = {}};
    for (std::size_t column = 0; column < columns; ++column) {
      const auto run = static_cast<MemoryUse>((i * columns + column) / 57);
      const MemoryUse use =
          run % 3 == 2 && partitions != 0
              ? host::kFirstPartition + run / 3 % static_cast<MemoryUse>(partitions)
              : 1 + run % 5;
      MemoryMap::Cell cell{{use, kCell}};
      if (column % 11 == 3) cell = {{use, kCell * 3 / 4}, {host::kUsedByHost, kCell / 4}};
      for (const auto& [each, bytes] : cell) map.totals[each] += bytes;
      row.cells.push_back(cell);
    }
    map.rows.push_back(row);
  }
  return map;
}

MapCaption some_caption(std::size_t partitions) {
  MapCaption caption{.host = "lab<&>\"1", .time = "2026-01-02 03:04 UTC", .partitions = {}};
  for (std::size_t i = 0; i < partitions; ++i) {
    caption.partitions.push_back("partition-" + std::to_string(i));
  }
  return caption;
}

// For people: BULKHEAD_SHOW_PICTURES=DIRECTORY keeps what these tests draw.
void keep(const std::string& name, const std::string& content) {
  const char* directory = std::getenv("BULKHEAD_SHOW_PICTURES");
  if (directory != nullptr) std::ofstream(std::string(directory) + "/" + name) << content;
}

bool inside(const Picture& picture, const Box& box) {
  return box.x >= 0 && box.y >= 0 && box.x + box.width <= picture.width &&
         box.y + box.height <= picture.height;
}

TEST(MemoryPicture, EverythingIsInside) {
  for (const std::size_t partitions : {0U, 3U, 30U}) {
    for (const std::size_t columns : {32U, 64U, 128U}) {
      const Picture picture = draw_map(some_map(partitions, columns), some_caption(partitions));
      EXPECT_TRUE(
          std::ranges::all_of(picture.boxes, [&](const Box& box) { return inside(picture, box); }));
      for (const Label& label : picture.labels) {
        EXPECT_GE(label.x, 0) << label.text;
        EXPECT_LE(label.y, picture.height) << label.text;
      }
      keep("map-" + std::to_string(partitions) + "-" + std::to_string(columns) + ".svg",
           to_svg(picture));
      keep("map-" + std::to_string(partitions) + "-" + std::to_string(columns) + ".png",
           to_png(picture));
    }
  }
}

TEST(MemoryPicture, PartitionsHaveTheirOwnColours) {
  const Picture picture = draw_map(some_map(21), some_caption(21));
  std::vector<Colour> colours;
  for (const Box& box : picture.boxes) {
    if (box.width == 12 && box.height == 12) colours.push_back(box.colour);  // of the legend
  }
  EXPECT_EQ(colours.size(), 21u + 5u);
  for (std::size_t i = 0; i < colours.size(); ++i) {
    EXPECT_EQ(std::ranges::count(colours, colours[i]), 1) << i;
  }
}

TEST(MemoryPicture, SvgEscapesNames) {
  const std::string svg = to_svg(draw_map(some_map(2), some_caption(2)));
  EXPECT_TRUE(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_TRUE(svg.ends_with("</svg>\n"));
  EXPECT_NE(svg.find("lab&lt;&amp;&gt;&quot;1"), std::string::npos);
  EXPECT_EQ(svg.find("lab<"), std::string::npos);
  EXPECT_NE(svg.find(">partition-1</text>"), std::string::npos);
  EXPECT_NE(svg.find(">node 1</text>"), std::string::npos);
  EXPECT_NE(svg.find("512 MiB of addresses without memory"), std::string::npos);
}

TEST(MemoryPicture, PngIsOneWithTheSameBoxes) {
  const Picture picture{
      .width = 10, .height = 5, .title = "", .boxes = {{2, 1, 3, 2, {200, 100, 50}}}, .labels = {}};
  const std::string file = to_png(picture);
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  ASSERT_NE(png_image_begin_read_from_memory(&image, file.data(), file.size()), 0);
  EXPECT_EQ(image.width, 20u);
  EXPECT_EQ(image.height, 10u);
  image.format = PNG_FORMAT_RGB;
  std::vector<std::uint8_t> bytes(PNG_IMAGE_SIZE(image));
  ASSERT_NE(png_image_finish_read(&image, nullptr, bytes.data(), 0, nullptr), 0);
  const auto red = [&](std::size_t x, std::size_t y) { return bytes[(y * 20 + x) * 3]; };
  EXPECT_EQ(red(4, 2), 200);
  EXPECT_EQ(red(9, 5), 200);
  EXPECT_EQ(red(10, 5), 255);
  EXPECT_EQ(red(4, 1), 255);
}

TEST(MemoryPicture, TextFitsATerminal) {
  MemoryMap map = some_map(60, 64);
  map.rows.back().address = 1100 * kGiB;
  std::istringstream text(text_map(map, some_caption(60)));
  std::size_t longest = 0;
  for (std::string line; std::getline(text, line);) longest = std::max(longest, line.size());
  EXPECT_LE(longest, 80u);
}

TEST(MemoryPicture, TextShowsTheLargestUse) {
  MemoryMap map;
  map.columns = 4;
  map.totals = {0, 0, kCell, 0, 0, 0, 2 * kCell, kCell / 2};
  map.rows = {{.address = 8 * kGiB,
               .node = 3,
               .cells = {{{6, kCell}}, {{2, kCell}}, {{7, kCell / 2}, {2, kCell / 4}}, {}}}};
  const std::string text = text_map(map, {.host = "h", .time = "", .partitions = {"web", "db"}});
  EXPECT_NE(text.find("   8.000G |A#B | n3\n"), std::string::npos) << text;
  EXPECT_NE(text.find("  B  db                                              1 MiB\n"),
            std::string::npos)
      << text;
}

TEST(MemoryPicture, SizesForPeople) {
  EXPECT_EQ(size_text(0), "0 B");
  EXPECT_EQ(size_text(512 * kMiB), "512 MiB");
  EXPECT_EQ(size_text(kGiB + kGiB / 2), "1.5 GiB");
  EXPECT_EQ(size_text(1024 * kGiB), "1 TiB");
  EXPECT_EQ(size_text(UINT64_MAX), "16777215.9 TiB");
}

TEST(MemoryPicture, MoreMemoryHasMoreCells) {
  EXPECT_EQ(picture_size(2 * kGiB).columns, 32u);
  EXPECT_EQ(picture_size(8 * kGiB).columns, 64u);
  EXPECT_EQ(picture_size(1024 * kGiB).columns, 128u);
}

TEST(PixelFont, KnowsEveryPrintableCharacter) {
  std::vector<Glyph> seen;
  for (char c = '!'; c <= '~'; ++c) {
    EXPECT_EQ(std::ranges::count(seen, glyph(c)), 0) << c;
    EXPECT_NE(glyph(c), Glyph{}) << c;
    seen.push_back(glyph(c));
  }
  EXPECT_EQ(glyph('\n'), glyph('?'));
  EXPECT_EQ(glyph('\xff'), glyph('?'));
}

}  // namespace
}  // namespace bulkhead::cli
