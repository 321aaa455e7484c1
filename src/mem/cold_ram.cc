// SPDX-License-Identifier: Apache-2.0
#include "mem/cold_ram.h"

#include <algorithm>
#include <vector>

namespace bulkhead {
namespace {

PageIndex first_page(const RamPiece& piece) {
  return PageIndex(piece.ram_offset / kPageSize);
}

Result<void> manage(ColdMemory& cold, const std::vector<RamPiece>& pieces) {
  for (std::size_t done = 0; done < pieces.size(); ++done) {
    const RamPiece& piece = pieces[done];
    Result<void> added = Error{Errc::kUnsupported, 0, "this memory cannot be taken page by page"};
    if (piece.backing == Backing::kMemfd) {
      added = cold.add_range({.host = piece.host,
                              .size_bytes = piece.size_bytes,
                              .file = piece.file,
                              .file_offset = piece.file_offset,
                              .first = first_page(piece)});
    }
    if (added) continue;
    while (done > 0) TRY(cold.remove_range(first_page(pieces[--done])));
    return added;
  }
  return {};
}

std::vector<RamPiece> pieces_of_unit(const GuestMemory& memory, std::size_t unit) {
  const std::uint64_t offset = memory.layout().unit_offset(unit);
  std::vector<RamPiece> pieces = memory.pieces();
  std::erase_if(pieces, [offset](const RamPiece& piece) {
    return piece.ram_offset < offset || piece.ram_offset - offset >= kGrowthUnit;
  });
  return pieces;
}

}  // namespace

Result<void> manage_ram(ColdMemory& cold, const GuestMemory& memory) {
  return manage(cold, memory.pieces());
}

Result<void> manage_unit(ColdMemory& cold, const GuestMemory& memory, std::size_t unit) {
  return manage(cold, pieces_of_unit(memory, unit));
}

Result<void> forget_unit(ColdMemory& cold, const GuestMemory& memory, std::size_t unit) {
  for (const RamPiece& piece : pieces_of_unit(memory, unit)) {
    TRY(cold.remove_range(first_page(piece)));
  }
  return {};
}

}  // namespace bulkhead
