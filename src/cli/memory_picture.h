// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cli/picture.h"
#include "host/memory_map.h"

namespace bulkhead::cli {

// What a map shows beside its cells.
struct MapCaption {
  std::string host;
  std::string time;
  std::vector<std::string> partitions;  // names
};

// How many cells a picture of so much memory has.
host::MapSize picture_size(std::uint64_t ram_bytes);

Picture draw_map(const host::MemoryMap& map, const MapCaption& caption);
// For a terminal of 80 columns.
std::string text_map(const host::MemoryMap& map, const MapCaption& caption);
inline constexpr host::MapSize kTextMapSize{.columns = 64, .max_rows = 48};

// "512.0 MiB"
std::string size_text(std::uint64_t bytes);

}  // namespace bulkhead::cli
