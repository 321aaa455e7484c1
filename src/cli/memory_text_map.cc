// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <string_view>

#include "base/address.h"
#include "cli/memory_picture.h"

namespace bulkhead::cli {
namespace {

using host::MemoryMap;
using host::MemoryUse;

constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
constexpr std::string_view kSigns = " x#.-+";  // by use

char sign(MemoryUse use) {
  if (use < kSigns.size()) return kSigns[use];
  const std::size_t partition = use - host::kFirstPartition;
  return partition < kLetters.size() ? kLetters[partition] : '*';
}

std::string axis(std::uint64_t address) {
  char text[32];
  std::snprintf(text, sizeof text, "%8.3fG ",
                static_cast<double>(address) / static_cast<double>(kGiB));
  return text;
}

std::string row_line(const MemoryMap::Row& row) {
  std::string line = axis(row.address) + "|";
  for (const MemoryMap::Cell& cell : row.cells) {
    line.push_back(cell.empty() ? ' ' : sign(cell.front().first));
  }
  line += "|";
  if (row.node) line += " n" + std::to_string(*row.node);
  return line + "\n";
}

std::string legend_line(char mark, const std::string& name, std::uint64_t bytes) {
  char text[128];
  std::snprintf(text, sizeof text, "  %c  %-40s %12s\n", mark, name.substr(0, 40).c_str(),
                size_text(bytes).c_str());
  return text;
}

}  // namespace

std::string text_map(const MemoryMap& map, const MapCaption& caption) {
  std::string text = "Physical memory of " + caption.host + "; a sign is " +
                     size_text(map.cell_bytes) + ", and shows its largest use\n\n";
  for (std::size_t i = 0; i < map.rows.size(); ++i) {
    const bool gap = i > 0 && map.rows[i].address != map.rows[i - 1].address + map.row_bytes();
    if (gap) text += "          :\n";
    text += row_line(map.rows[i]);
  }
  text += "\n";
  for (std::size_t i = 0; i < caption.partitions.size(); ++i) {
    const MemoryUse use = host::kFirstPartition + static_cast<MemoryUse>(i);
    text += legend_line(sign(use), caption.partitions[i], map.totals[use]);
  }
  constexpr std::pair<MemoryUse, const char*> kRest[] = {
      {host::kUsedByHost, "used by the host"},
      {host::kFreeMemory, "free"},
      {host::kPoolUnowned, "pool, no owner"},
      {host::kCarvedUnowned, "carved, no owner"},
      {host::kReservedByFirmware, "reserved by firmware"}};
  for (const auto& [use, name] : kRest) {
    if (map.totals[use] != 0) text += legend_line(sign(use), name, map.totals[use]);
  }
  if (map.estimated) text += "Estimated but for partitions: one frame of many was looked at.\n";
  return text;
}

}  // namespace bulkhead::cli
