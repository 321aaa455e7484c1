// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "base/check.h"
#include "devices/virtio/memory_resizer.h"

// For unit tests and fuzz targets only.

namespace bulkhead {

// A host with so many growth units to give.
class FakeResizer : public MemoryResizer {
 public:
  explicit FakeResizer(Gpa region) : region_(region) {}

  Result<void> add_unit(UnitIndex unit) override {
    ++calls;
    if (units.size() >= limit) return Error{Errc::kExhausted, 0, "no more units"};
    CHECK(units.insert(unit.value()).second);
    return {};
  }
  Result<void> remove_unit(UnitIndex unit) override {
    ++calls;
    if (refuse_removal) return Error{Errc::kIo, 0, "refused by the test"};
    CHECK(units.erase(unit.value()) == 1);
    return {};
  }
  Result<void> discard(Gpa base, std::uint64_t size_bytes) override {
    ++calls;
    const std::uint64_t offset = base - region_;
    CHECK(size_bytes != 0 && size_bytes % kFrameSize == 0 && offset % kFrameSize == 0);
    CHECK(offset / kGrowthUnit == (offset + size_bytes - 1) / kGrowthUnit);
    CHECK(units.contains(offset / kGrowthUnit));
    discarded.emplace_back(offset, size_bytes);
    if (refuse_discard) return Error{Errc::kIo, 0, "refused by the test"};
    return {};
  }

  std::set<std::uint64_t> units;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> discarded;  // offset in the region, bytes
  std::size_t limit = 1'000'000;
  bool refuse_removal = false;
  bool refuse_discard = false;
  int calls = 0;

 private:
  Gpa region_;
};

// §5.15.6: what a driver writes and reads.
struct MemoryRequest {
  std::uint16_t type = 0;
  std::uint16_t padding[3] = {0xeeee, 0xeeee, 0xeeee};
  std::uint64_t addr = 0;
  std::uint16_t nb_blocks = 0;
  std::uint16_t more_padding[3] = {0xeeee, 0xeeee, 0xeeee};
};
static_assert(sizeof(MemoryRequest) == 24);
struct MemoryResponse {
  std::uint16_t type = 0xffff;
  std::uint16_t padding[3] = {};
  std::uint16_t state = 0xffff;
};
static_assert(sizeof(MemoryResponse) == 10);

}  // namespace bulkhead
