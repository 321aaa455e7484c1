// SPDX-License-Identifier: Apache-2.0
#include "host/memory_layout.h"

#include <algorithm>
#include <charconv>

namespace bulkhead::host {
namespace {

std::optional<std::uint64_t> hexadecimal(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "00100000-4fffffff : System RAM". Lines of parts begin with a space.
std::optional<PhysicalRange> parse_iomem_line(std::string_view line) {
  const std::size_t dash = line.find('-');
  const std::size_t colon = line.find(" : ");
  if (dash == line.npos || colon == line.npos || dash > colon) return std::nullopt;
  const auto start = hexadecimal(line.substr(0, dash));
  const auto last = hexadecimal(line.substr(dash + 1, colon - dash - 1));
  if (!start || !last || *last < *start || *last == UINT64_MAX) return std::nullopt;
  const bool ram = line.substr(colon + 3) == "System RAM";
  return PhysicalRange{*start, *last + 1, ram ? RangeKind::kSystemRam : RangeKind::kReserved};
}

std::vector<PhysicalRange> parse_iomem(std::string_view text) {
  std::vector<PhysicalRange> ranges;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (const auto range = parse_iomem_line(text.substr(0, end))) ranges.push_back(*range);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  std::ranges::sort(ranges, {}, &PhysicalRange::start);
  std::uint64_t end = 0;
  std::erase_if(ranges, [&end](const PhysicalRange& range) {
    if (range.start < end) return true;
    end = range.end;
    return false;
  });
  return ranges;
}

// memmap=64M$0x50000000; the bootloader may have kept a backslash before the $.
std::vector<PhysicalRange> parse_carved(std::string_view command_line) {
  constexpr std::string_view kKey = "memmap=";
  std::vector<PhysicalRange> ranges;
  for (std::string_view word : words(command_line)) {
    const std::size_t dollar = word.find('$');
    if (!word.starts_with(kKey) || dollar == word.npos) continue;
    const auto size = parse_size(word.substr(kKey.size()));
    const auto start = parse_size(word.substr(dollar + 1));
    if (!size || !start || *size == 0 || *size > UINT64_MAX - *start) continue;
    ranges.push_back({*start, *start + *size, RangeKind::kCarved});
  }
  return ranges;
}

// Cuts what is carved out of the other ranges.
void add_carved(std::vector<PhysicalRange>& ranges, const PhysicalRange& carved) {
  std::vector<PhysicalRange> result;
  for (const PhysicalRange& range : ranges) {
    const PhysicalRange before{range.start, std::min(range.end, carved.start), range.kind};
    const PhysicalRange after{std::max(range.start, carved.end), range.end, range.kind};
    if (before.start < before.end) result.push_back(before);
    if (after.start < after.end) result.push_back(after);
  }
  result.push_back(carved);
  std::ranges::sort(result, {}, &PhysicalRange::start);
  ranges = std::move(result);
}

std::optional<unsigned> number_after(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  unsigned value = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), value);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return value;
}

// The memory blocks below each node, joined where they follow each other.
std::vector<PhysicalLayout::Node> read_nodes(const Root& root) {
  const std::string place = "/sys/devices/system/node/";
  const auto block =
      hexadecimal(root.text("/sys/devices/system/memory/block_size_bytes").value_or(""));
  std::vector<PhysicalLayout::Node> blocks;
  for (const std::string& name : root.list(place)) {
    const auto node = number_after(name, "node");
    if (!node || !block) continue;
    for (const std::string& entry : root.list(place + name)) {
      const auto index = number_after(entry, "memory");
      if (index) blocks.push_back({*index * *block, (*index + std::uint64_t{1}) * *block, *node});
    }
  }
  std::ranges::sort(blocks, {}, &PhysicalLayout::Node::start);
  std::vector<PhysicalLayout::Node> nodes;
  for (const PhysicalLayout::Node& next : blocks) {
    if (!nodes.empty() && nodes.back().end == next.start && nodes.back().number == next.number) {
      nodes.back().end = next.end;
    } else {
      nodes.push_back(next);
    }
  }
  return nodes;
}

}  // namespace

std::uint64_t PhysicalLayout::ram_bytes() const {
  std::uint64_t sum = 0;
  for (const PhysicalRange& range : ranges) {
    if (range.kind != RangeKind::kReserved) sum += range.end - range.start;
  }
  return sum;
}

std::optional<unsigned> PhysicalLayout::node_of(std::uint64_t address) const {
  for (const Node& node : nodes) {
    if (node.start <= address && address < node.end) return node.number;
  }
  return std::nullopt;
}

Result<PhysicalLayout> physical_layout(const Root& root) {
  const auto text = root.text("/proc/iomem");
  if (!text) return Error{Errc::kNotFound, 0, "cannot read /proc/iomem"};
  PhysicalLayout layout{.ranges = parse_iomem(*text), .nodes = read_nodes(root)};
  // Others than root see the names with zeroes for addresses.
  if (layout.ram_bytes() <= 1) {
    return Error{Errc::kPermission, 0, "the kernel hides physical addresses"};
  }
  for (const PhysicalRange& carved : parse_carved(root.text("/proc/cmdline").value_or(""))) {
    add_carved(layout.ranges, carved);
  }
  return layout;
}

}  // namespace bulkhead::host
