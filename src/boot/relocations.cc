// SPDX-License-Identifier: Apache-2.0
#include "boot/relocations.h"

#include <sys/mman.h>

#include <algorithm>
#include <span>

#include "base/byte_reader.h"
#include "base/mapping.h"

namespace bulkhead::boot {
namespace {

constexpr std::uint64_t kEntryBytes = 4;
constexpr std::uint64_t kMaxTableBytes = 64 * kMiB;  // Debian's kernels have 1 MiB
constexpr std::size_t kChunkBytes = 64 * kKiB;
constexpr std::size_t kWindowBytes = 64 * kKiB;
constexpr std::uint64_t kStartKernelMap = 0xffffffff80000000;  // __START_KERNEL_map

Error bad_entry() {
  return Error{Errc::kMalformed, 0, "the kernel's relocation table points outside of the kernel"};
}

// Calls visit(entry) -> Result<void> for each 32-bit entry of a range of the payload, in order.
template <class Visit>
Result<void> for_each_entry(const FileReader& payload, const RelocationTables::Table& range,
                            Visit visit) {
  const Mapping buffer = TRY(Mapping::create({.size_bytes = kChunkBytes,
                                              .protection = PROT_READ | PROT_WRITE,
                                              .flags = MAP_PRIVATE | MAP_ANONYMOUS}));
  std::uint64_t offset = range.offset;
  std::uint64_t left = range.count * kEntryBytes;
  while (left > 0) {
    const auto chunk = buffer.bytes().first(std::min<std::uint64_t>(left, kChunkBytes));
    TRY(payload.read(offset, chunk));
    for (std::size_t at = 0; at < chunk.size(); at += kEntryBytes) {
      TRY(visit(get_le<std::uint32_t>(chunk, at)));
    }
    offset += chunk.size();
    left -= chunk.size();
  }
  return {};
}

// A piece of the image, copied out, changed here and copied back. Entries ascend, so that each
// piece is copied once per table, and not once per entry.
class Window {
 public:
  static Result<Window> create(GuestMemory& memory, const RelocationTables::Target& target) {
    return Window(memory, target,
                  TRY(Mapping::create({.size_bytes = kWindowBytes,
                                       .protection = PROT_READ | PROT_WRITE,
                                       .flags = MAP_PRIVATE | MAP_ANONYMOUS})));
  }

  // Adds to the word at this offset of the image.
  template <class Word>
  Result<void> add(std::uint64_t offset, Word amount) {
    if (!range_fits(offset, sizeof(Word), target_.image_bytes)) return bad_entry();
    if (offset < start_) {
      return Error{Errc::kMalformed, 0, "the kernel's relocation table is not in order"};
    }
    if (!range_fits(offset - start_, sizeof(Word), length_)) TRY(move_to(offset));
    const std::span bytes = buffer_.bytes();
    const std::size_t at = offset - start_;
    put_le(bytes, at, static_cast<Word>(get_le<Word>(bytes, at) + amount));
    return {};
  }

  Result<void> write_back() {
    if (length_ == 0) return {};
    return memory_.write(target_.load_address + start_, buffer_.bytes().first(length_));
  }

 private:
  Window(GuestMemory& memory, const RelocationTables::Target& target, Mapping buffer)
      : memory_(memory), target_(target), buffer_(std::move(buffer)) {}

  Result<void> move_to(std::uint64_t offset) {
    TRY(write_back());
    start_ = offset;
    length_ = std::min<std::uint64_t>(kWindowBytes, target_.image_bytes - offset);
    return memory_.read(target_.load_address + start_, buffer_.bytes().first(length_));
  }

  GuestMemory& memory_;
  const RelocationTables::Target& target_;
  Mapping buffer_;
  std::uint64_t start_ = 0;
  std::uint64_t length_ = 0;
};

}  // namespace

Result<std::optional<RelocationTables>> RelocationTables::find(const FileReader& payload,
                                                               std::uint64_t elf_end) {
  if (elf_end > payload.size()) return bad_entry();
  const std::uint64_t bytes = payload.size() - elf_end;
  if (bytes % kEntryBytes != 0 || bytes > kMaxTableBytes) return std::optional<RelocationTables>();

  // The tables between the zeros, in file order.
  std::array<Table, 3> found{};
  std::size_t zeros = 0;
  std::uint64_t index = 0;
  bool known = true;
  TRY(for_each_entry(payload, {Kind::kAdd32, elf_end, bytes / kEntryBytes},
                     [&](std::uint32_t entry) -> Result<void> {
                       ++index;
                       if (entry != 0) {
                         known = known && zeros > 0;
                         if (known) ++found[zeros - 1].count;
                       } else if (zeros == found.size()) {
                         known = false;
                       } else {
                         found[zeros++].offset = elf_end + index * kEntryBytes;
                       }
                       return {};
                     }));
  if (!known || zeros < 2) return std::optional<RelocationTables>();
  if (zeros == 2) found = {found[0], Table{}, found[1]};
  found[0].kind = Kind::kAdd64;
  found[1].kind = Kind::kSubtract32;
  found[2].kind = Kind::kAdd32;
  RelocationTables tables;
  tables.tables_ = found;
  return std::optional<RelocationTables>(tables);
}

Result<void> RelocationTables::apply(GuestMemory& memory, const FileReader& payload,
                                     const Target& target) const {
  for (const Table& table : tables_) {
    Window window = TRY(Window::create(memory, target));
    TRY(for_each_entry(payload, table, [&](std::uint32_t entry) -> Result<void> {
      // Sign-extended, the entry is a virtual address; wrapping arithmetic makes it an offset, and
      // what lies below the image becomes a huge one.
      const auto address =
          static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(entry)});
      const std::uint64_t offset = address - kStartKernelMap - target.link_address;
      const auto low = static_cast<std::uint32_t>(target.virtual_offset);
      switch (table.kind) {
        case Kind::kAdd64:
          return window.add<std::uint64_t>(offset, target.virtual_offset);
        case Kind::kSubtract32:
          return window.add<std::uint32_t>(offset, -low);
        case Kind::kAdd32:
          return window.add<std::uint32_t>(offset, low);
      }
      return {};
    }));
    TRY(window.write_back());
  }
  return {};
}

}  // namespace bulkhead::boot
