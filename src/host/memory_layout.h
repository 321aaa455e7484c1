// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "host/root.h"

namespace bulkhead::host {

enum class RangeKind : std::uint8_t {
  kSystemRam,
  kCarved,    // memmap=SIZE$ADDRESS: the host kernel leaves it alone
  kReserved,  // by the firmware, for devices
};

struct PhysicalRange {
  std::uint64_t start = 0;
  std::uint64_t end = 0;  // first byte after it
  RangeKind kind = RangeKind::kReserved;
};

// The machine's physical addresses.
struct PhysicalLayout {
  struct Node {
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    unsigned number = 0;
  };

  std::vector<PhysicalRange> ranges;  // ascending, without overlap
  std::vector<Node> nodes;            // the same; empty when the machine has one node or tells none

  std::uint64_t ram_bytes() const;
  std::optional<unsigned> node_of(std::uint64_t address) const;
};

// From /proc/iomem, the kernel's command line and /sys/devices/system/node. kPermission when the
// kernel hides addresses, as from users other than root.
Result<PhysicalLayout> physical_layout(const Root& root);

}  // namespace bulkhead::host
