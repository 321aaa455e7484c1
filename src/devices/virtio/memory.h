// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/log.h"
#include "devices/virtio/device.h"
#include "devices/virtio/memory_resizer.h"
#include "devices/virtio/queue_service.h"

namespace bulkhead {

// A virtio memory device (virtio 1.2 §5.15): a region of guest-physical addresses in which the
// driver plugs and unplugs blocks of 2 MiB until as much is plugged as the host asked for. Behind a
// growth unit there is memory exactly while a block of it is plugged, unless the host failed to
// take the unit back: then that is tried again with each later unplugging.
//
// The host's memory is charged by whole units, so a driver gets no more units than what is asked
// for fills, however it scatters its blocks. Linux fills one unit before it begins another.
class VirtioMem final : public VirtioDevice {
 public:
  static constexpr std::uint64_t kBlockSize = kFrameSize;
  static constexpr std::uint64_t kUnitBlocks = kGrowthUnit / kBlockSize;
  static_assert(kUnitBlocks == 64);  // a unit's blocks are the bits of a word
  static constexpr std::uint64_t kMaxRegion = 1024 * kGiB;

  // Both multiples of kGrowthUnit. No RAM, and no device, may ever lie in the region.
  struct Region {
    Gpa base;
    std::uint64_t size_bytes = 0;
  };
  // Nothing is plugged, and nothing asked for. The resizer outlives the device.
  static Result<std::unique_ptr<VirtioMem>> create(const Region& region, DmaSpace& space,
                                                   EventLoop& loop, MemoryResizer& resizer);

  // How much shall be plugged: a multiple of kBlockSize, at most the region. Any thread. A driver
  // that cannot free as much keeps more.
  Result<void> set_requested_size(std::uint64_t bytes);
  // As at a system reset: every unit goes back to the host. On the event loop's thread. A device
  // reset keeps what is plugged, as the specification wants (§5.15.5.2): it may still be in use.
  void unplug_all();

  struct Counters {
    std::uint64_t requested_bytes = 0;
    std::uint64_t plugged_bytes = 0;
    std::uint64_t usable_bytes = 0;
    std::uint64_t units = 0;  // taken from the host
  };
  Counters counters();

  std::string_view name() const override { return "virtio-mem"; }
  std::uint32_t device_id() const override { return 24; }
  std::uint64_t offered_features() const override;
  std::span<const std::uint16_t> queue_sizes() const override;
  void read_config(std::uint64_t offset, std::span<std::byte> bytes) override;
  void write_config(std::uint64_t, std::span<const std::byte>) override {}  // read-only (§5.15.4)
  Result<void> activate(const VirtioActivation& activation) override;
  Result<void> process_queue(std::uint16_t queue_index) override;
  void reset() override { service_->reset(); }

  // restore() makes the units agree with the state; their content is to be brought back after it.
  void save(StateWriter& writer) const override;
  Result<void> restore(StateReader& reader) override;

 private:
  // virtio 1.2 §5.15.4: all fields little-endian.
  struct Config {
    std::uint64_t block_size = kBlockSize;
    std::uint16_t node_id = 0;
    std::array<std::uint8_t, 6> padding{};
    std::uint64_t addr = 0;
    std::uint64_t region_size = 0;
    std::uint64_t usable_region_size = 0;
    std::uint64_t plugged_size = 0;
    std::uint64_t requested_size = 0;
  };
  static_assert(sizeof(Config) == 56);
  enum class Answer : std::uint16_t { kAck = 0, kNack = 1, kBusy = 2, kError = 3 };
  enum class State : std::uint16_t { kPlugged = 0, kUnplugged = 1, kMixed = 2 };
  struct Request;
  struct Response;
  // Blocks of the region, at least one.
  struct Blocks {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
    std::uint64_t first_unit() const { return first / kUnitBlocks; }
    std::uint64_t end_unit() const { return (first + count - 1) / kUnitBlocks + 1; }
    std::uint64_t size_bytes() const { return count * kBlockSize; }
    // Those that lie in a unit which they touch: as a range, and as bits of the unit's word.
    Blocks in_unit(std::uint64_t unit) const;
    std::uint64_t mask(std::uint64_t unit) const;
  };

  VirtioMem(const Region& region, DmaSpace& space, MemoryResizer& resizer);

  Result<QueueService::Served> handle(const DescriptorChain& chain);
  Response answer(const Request& request);
  std::optional<Blocks> blocks_of(const Request& request) const;
  State state_of(const Blocks& blocks) const;
  Answer plug(const Blocks& blocks);
  Answer unplug(const Blocks& blocks);
  void unplug_all_blocks();
  Gpa address_of(std::uint64_t block) const { return Gpa(config_.addr) + block * kBlockSize; }
  bool add_units(const Blocks& blocks);
  Result<void> add_unit(std::uint64_t unit);
  void remove_idle_units();
  void discard(const Blocks& blocks);
  void warn(std::string_view event, const Error& error);

  DmaSpace& space_;
  MemoryResizer& resizer_;
  Config config_;
  std::vector<std::uint64_t> plugged_;  // by unit; bit n is its block n
  std::vector<bool> present_;           // by unit: taken from the host
  std::uint64_t present_units_ = 0;
  LogLimiter limiter_;
  std::unique_ptr<QueueService> service_;
};

}  // namespace bulkhead
