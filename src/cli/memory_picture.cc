// SPDX-License-Identifier: Apache-2.0
#include "cli/memory_picture.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/address.h"

namespace bulkhead::cli {
namespace {

using host::MemoryMap;
using host::MemoryUse;

constexpr double kMargin = 32;
constexpr double kAxisWidth = 92;
constexpr double kNodeWidth = 64;
constexpr double kLegendWidth = 320;
constexpr double kHeaderHeight = 76;
constexpr double kGapHeight = 20;
constexpr double kLegendLine = 22;
constexpr std::size_t kMaxInLegend = 21;

constexpr Colour kInk{0x21, 0x25, 0x29};
constexpr Colour kPale{0x6c, 0x75, 0x7d};
constexpr Colour kLine{0xce, 0xd4, 0xda};
constexpr Colour kWhite{0xff, 0xff, 0xff};

// Okabe and Ito's colours, which people with any kind of colour vision tell apart.
constexpr std::array<Colour, 7> kPartitionColours = {{{0x00, 0x72, 0xb2},
                                                      {0xe6, 0x9f, 0x00},
                                                      {0x00, 0x9e, 0x73},
                                                      {0xcc, 0x79, 0xa7},
                                                      {0x56, 0xb4, 0xe9},
                                                      {0xd5, 0x5e, 0x00},
                                                      {0xf0, 0xe4, 0x42}}};

Colour mix(const Colour& colour, const Colour& other, int percent) {
  const auto part = [percent](std::uint8_t a, std::uint8_t b) {
    return static_cast<std::uint8_t>((a * (100 - percent) + b * percent) / 100);
  };
  return {part(colour.red, other.red), part(colour.green, other.green),
          part(colour.blue, other.blue)};
}

// As they are, lighter, darker; after 21 partitions from the start.
Colour partition_colour(std::size_t index) {
  const Colour& colour = kPartitionColours[index % kPartitionColours.size()];
  const std::size_t round = index / kPartitionColours.size() % 3;
  if (round == 0) return colour;
  return round == 1 ? mix(colour, kWhite, 50) : mix(colour, {0, 0, 0}, 45);
}

Colour colour_of(MemoryUse use) {
  switch (use) {
    case host::kNotRam:
      return kWhite;
    case host::kReservedByFirmware:
      return {0x49, 0x50, 0x57};
    case host::kUsedByHost:
      return {0x9a, 0xa1, 0xa9};
    case host::kFreeMemory:
      return {0xe9, 0xec, 0xef};
    case host::kCarvedUnowned:
      return {0xf8, 0xec, 0xd2};
    case host::kPoolUnowned:
      return {0xd3, 0xe4, 0xf1};
    default:
      return partition_colour(use - host::kFirstPartition);
  }
}

struct LegendEntry {
  MemoryUse use = 0;
  std::string name;
};

class Drawing {
 public:
  Drawing(const MemoryMap& map, const MapCaption& caption) : map_(map), caption_(caption) {
    cell_ = map.columns <= 32 ? 15 : map.columns <= 64 ? 11 : 7;
    grid_left_ = kMargin + kAxisWidth;
    grid_width_ = cell_ * static_cast<double>(map.columns);
  }

  Picture draw() {
    picture_.title = "Physical memory of " + caption_.host;
    header();
    double bottom = grid(kHeaderHeight + kMargin);
    bottom = std::max(bottom, legend(kHeaderHeight + kMargin));
    picture_.width = grid_left_ + grid_width_ + kNodeWidth + kLegendWidth + kMargin;
    picture_.height = bottom + kMargin;
    return std::move(picture_);
  }

 private:
  void box(double x, double y, double width, double height, const Colour& colour) {
    picture_.boxes.push_back({x, y, width, height, colour});
  }
  void label(double x, double y, double size, const std::string& text, const Colour& colour = kInk,
             Anchor anchor = Anchor::kStart, bool bold = false) {
    picture_.labels.push_back({x, y, size, anchor, bold, colour, text});
  }

  void header() {
    label(kMargin, kMargin + 20, 22, picture_.title, kInk, Anchor::kStart, true);
    std::uint64_t memory = 0;
    for (MemoryUse use = host::kUsedByHost; use < map_.totals.size(); ++use) {
      memory += map_.totals[use];
    }
    std::string text = size_text(memory) + " of RAM. A cell is " + size_text(map_.cell_bytes) +
                       ", a row " + size_text(map_.row_bytes()) + ". " + caption_.time;
    label(kMargin, kMargin + 46, 12, text, kPale);
  }

  // Returns where it ends, as the others.
  double grid(double y) {
    double segment = y;
    double node_start = y;
    for (std::size_t i = 0; i < map_.rows.size(); ++i) {
      const MemoryMap::Row& row = map_.rows[i];
      const bool first = i == 0;
      if (!first && row.address != map_.rows[i - 1].address + map_.row_bytes()) {
        lines(segment, y);
        node(node_start, y, map_.rows[i - 1]);
        gap(y, row.address - map_.rows[i - 1].address - map_.row_bytes());
        y += kGapHeight;
        segment = node_start = y;
      } else if (!first && row.node != map_.rows[i - 1].node) {
        node(node_start, y - 2, map_.rows[i - 1]);
        node_start = y;
      }
      draw_row(y, row, y == segment);
      y += cell_;
    }
    if (!map_.rows.empty()) {
      lines(segment, y);
      node(node_start, y, map_.rows.back());
    }
    return y;
  }

  // A label where one has room: at the start of a segment, and every 8 rows of the whole.
  void draw_row(double y, const MemoryMap::Row& row, bool segment_start) {
    if (segment_start || row.address / map_.row_bytes() % 8 == 0) {
      if (segment_start || y - last_axis_label_ >= 16) {
        char text[24];
        std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(row.address));
        label(grid_left_ - 12, y + 10, 11, text, kPale, Anchor::kEnd);
        box(grid_left_ - 8, y, 5, 1, kPale);
        last_axis_label_ = y;
      }
    }
    for (std::size_t column = 0; column < row.cells.size();) {
      std::size_t end = column + 1;
      while (end < row.cells.size() && row.cells[end] == row.cells[column]) ++end;
      draw_cells(y, row.cells[column], column, end);
      column = end;
    }
  }

  // Layers by how much of each there is, partitions at the bottom; thin ones stay visible.
  void draw_cells(double y, const MemoryMap::Cell& cell, std::size_t first, std::size_t end) {
    const double x = grid_left_ + cell_ * static_cast<double>(first);
    const double width = cell_ * static_cast<double>(end - first);
    MemoryMap::Cell layers = cell;
    std::ranges::sort(layers);
    double top = y;
    const double whole = static_cast<double>(map_.cell_bytes);
    for (const auto& [use, bytes] : layers) {
      const bool last = use == layers.back().first;
      const double part = cell_ * static_cast<double>(bytes) / whole;
      const double height = last ? y + cell_ - top : part;
      if (use != host::kNotRam) box(x, top, width, height, colour_of(use));
      top += height;
    }
  }

  // The cells' edges.
  void lines(double top, double bottom) {
    const double thin = cell_ < 10 ? 0.5 : 1;
    for (std::size_t column = 0; column <= map_.columns; ++column) {
      const double x = grid_left_ + cell_ * static_cast<double>(column);
      box(x - thin / 2, top, thin, bottom - top, kWhite);
    }
    for (double y = top; y <= bottom; y += cell_) {
      box(grid_left_, y - thin / 2, grid_width_, thin, kWhite);
    }
  }

  void gap(double y, std::uint64_t bytes) {
    const std::string text = size_text(bytes) + " of addresses without memory";
    const double middle = y + kGapHeight / 2;
    const double text_half = static_cast<double>(text.size()) * 3.2 + 8;
    const double half = grid_width_ / 2 - text_half;
    box(grid_left_, middle, half, 1, kLine);
    box(grid_left_ + grid_width_ - half, middle, half, 1, kLine);
    label(grid_left_ + grid_width_ / 2, middle + 4, 10, text, kPale, Anchor::kMiddle);
  }

  void node(double top, double bottom, const MemoryMap::Row& row) {
    if (!row.node) return;
    const double x = grid_left_ + grid_width_ + 8;
    box(x, top, 3, bottom - top, kLine);
    if (bottom - top >= 12) {
      label(x + 9, (top + bottom) / 2 + 4, 11, "node " + std::to_string(*row.node), kPale);
    }
  }

  double legend(double y) {
    const std::size_t partitions = caption_.partitions.size();
    y = legend_title(y, partitions == 0 ? "No partition runs" : "Partitions");
    for (std::size_t i = 0; i < std::min(partitions, kMaxInLegend); ++i) {
      y = legend_line(y,
                      {host::kFirstPartition + static_cast<MemoryUse>(i), caption_.partitions[i]});
    }
    if (partitions > kMaxInLegend) {
      label(legend_left() + 22, y + 11, 12,
            "and " + std::to_string(partitions - kMaxInLegend) + " more", kPale);
      y += kLegendLine;
    }
    y = legend_title(y + 12, "The rest");
    for (const LegendEntry& entry :
         {LegendEntry{host::kUsedByHost, "used by the host"},
          LegendEntry{host::kFreeMemory, "free"}, LegendEntry{host::kPoolUnowned, "pool, no owner"},
          LegendEntry{host::kCarvedUnowned, "carved, no owner"},
          LegendEntry{host::kReservedByFirmware, "reserved by firmware"}}) {
      if (map_.totals[entry.use] != 0) y = legend_line(y, entry);
    }
    if (map_.estimated) {
      label(legend_left(), y + 14, 11, "Estimated but for partitions: one", kPale);
      label(legend_left(), y + 29, 11, "frame of many was looked at.", kPale);
      y += 36;
    }
    return y;
  }

  double legend_left() const { return grid_left_ + grid_width_ + kNodeWidth + 16; }

  double legend_title(double y, const std::string& text) {
    label(legend_left(), y + 12, 13, text, kInk, Anchor::kStart, true);
    return y + kLegendLine + 2;
  }

  double legend_line(double y, const LegendEntry& entry) {
    const double right = legend_left() + kLegendWidth - 16;
    box(legend_left(), y, 14, 14, mix(colour_of(entry.use), {0, 0, 0}, 18));
    box(legend_left() + 1, y + 1, 12, 12, colour_of(entry.use));
    constexpr std::size_t kMaxName = 20;
    const bool fits = entry.name.size() <= kMaxName;
    label(legend_left() + 22, y + 11, 12,
          fits ? entry.name : entry.name.substr(0, kMaxName - 2) + "..");
    label(right, y + 11, 12, size_text(map_.totals[entry.use]), kPale, Anchor::kEnd);
    return y + kLegendLine;
  }

  const MemoryMap& map_;
  const MapCaption& caption_;
  Picture picture_;
  double cell_ = 0;
  double grid_left_ = 0;
  double grid_width_ = 0;
  double last_axis_label_ = 0;
};

}  // namespace

// Some more rows than columns, as the legend is beside them.
host::MapSize picture_size(std::uint64_t ram_bytes) {
  const std::uint64_t cells = ram_bytes / kFrameSize;
  if (cells <= 32 * 40) return {.columns = 32, .max_rows = 48};
  if (cells <= 64 * 72) return {.columns = 64, .max_rows = 80};
  return {.columns = 128, .max_rows = 136};
}

Picture draw_map(const MemoryMap& map, const MapCaption& caption) {
  return Drawing(map, caption).draw();
}

std::string size_text(std::uint64_t bytes) {
  struct Unit {
    std::uint64_t bytes;
    const char* name;
  };
  constexpr std::array<Unit, 4> kUnits = {
      {{kGiB * 1024, "TiB"}, {kGiB, "GiB"}, {kMiB, "MiB"}, {kKiB, "KiB"}}};
  for (const Unit& unit : kUnits) {
    if (bytes < unit.bytes) continue;
    char text[32];
    const std::uint64_t tenths = bytes / (unit.bytes / 16) * 10 / 16;
    if (tenths % 10 == 0 && bytes % unit.bytes == 0) {
      std::snprintf(text, sizeof text, "%llu %s", static_cast<unsigned long long>(tenths / 10),
                    unit.name);
    } else {
      std::snprintf(text, sizeof text, "%llu.%llu %s", static_cast<unsigned long long>(tenths / 10),
                    static_cast<unsigned long long>(tenths % 10), unit.name);
    }
    return text;
  }
  return std::to_string(bytes) + " B";
}

}  // namespace bulkhead::cli
