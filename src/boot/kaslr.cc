// SPDX-License-Identifier: Apache-2.0
#include "boot/kaslr.h"

#include "base/check.h"
#include "crypto/random.h"

namespace bulkhead::boot {
namespace {

// KERNEL_IMAGE_SIZE of a kernel with CONFIG_RANDOMIZE_BASE, and only those carry relocations.
constexpr std::uint64_t kKernelMappingBytes = kGiB;

// The kernel takes the words before a lone "--" for its own (kernel-parameters.rst).
template <class Matches>
bool any_word(std::string_view line, Matches matches) {
  constexpr std::string_view kSpaces = " \t\n";
  while (!line.empty()) {
    const std::size_t end = line.find_first_of(kSpaces);
    const std::string_view word = line.substr(0, end);
    if (word == "--") return false;
    if (matches(word)) return true;
    if (end == std::string_view::npos) return false;
    line.remove_prefix(end + 1);
  }
  return false;
}

// How many aligned places there are for the image in [base, limit).
std::uint64_t slots(const PlacementRange& range, std::uint64_t limit) {
  CHECK(range.alignment != 0);
  if (!range_fits(range.preferred, range.image_bytes, limit)) return 1;
  return (limit - range.preferred - range.image_bytes) / range.alignment + 1;
}

}  // namespace

Randomization allowed_randomization(std::string_view command_line) {
  if (any_word(command_line, [](std::string_view word) { return word == "nokaslr"; })) {
    return Randomization::kNone;
  }
  const bool remaps = any_word(command_line, [](std::string_view word) {
    return word.starts_with("mem=") || word.starts_with("memmap=");
  });
  return remaps ? Randomization::kVirtualOnly : Randomization::kFull;
}

Result<KernelPlacement> choose_placement(const PlacementRange& range, Randomization allowed) {
  KernelPlacement placement{Gpa{range.preferred}, 0};
  if (allowed == Randomization::kNone) return placement;
  const std::uint64_t virtual_slots = slots(range, kKernelMappingBytes);
  placement.virtual_offset = TRY(random_below(virtual_slots)) * range.alignment;
  if (allowed == Randomization::kFull) {
    const std::uint64_t physical_slots = slots(range, range.limit);
    placement.load_address =
        Gpa{range.preferred + TRY(random_below(physical_slots)) * range.alignment};
  }
  return placement;
}

}  // namespace bulkhead::boot
