// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "devices/virtio/device.h"

// For unit tests and fuzz targets only.

namespace bulkhead {

// A device with two queues that gives every request back at once, saying that it filled as many
// bytes as it could read.
class FakeVirtioDevice : public VirtioDevice {
 public:
  static constexpr std::uint64_t kFeature = 1 << 3;
  static constexpr std::array<std::uint16_t, 2> kSizes{256, 16};

  std::string_view name() const override { return "fake"; }
  std::uint32_t device_id() const override { return 4; }
  std::uint64_t offered_features() const override { return kFeature; }
  std::span<const std::uint16_t> queue_sizes() const override { return kSizes; }

  void read_config(std::uint64_t offset, std::span<std::byte> bytes) override {
    for (std::byte& byte : bytes) {
      byte = offset < config.size() ? config[offset] : std::byte{0};
      ++offset;
    }
  }
  void write_config(std::uint64_t offset, std::span<const std::byte> bytes) override {
    for (const std::byte byte : bytes) {
      if (offset < config.size()) config[offset] = byte;
      ++offset;
    }
  }

  Result<void> activate(const VirtioActivation& activation) override {
    if (refuse) return Error{Errc::kIo, 0, "refused by the test"};
    CHECK(!active_);
    features = activation.features;
    active_.emplace(activation);
    ++activations;
    return {};
  }
  Result<void> process_queue(std::uint16_t queue_index) override {
    CHECK(active_);
    ++calls;
    VirtQueue& queue = active_->queues[queue_index];
    TRY(queue.disable_doorbell());
    for (std::uint16_t i = 0; i < queue.size(); ++i) {
      if (!TRY(queue.pop(chain_))) break;
      std::uint32_t length = 0;
      for (const DmaSegment& segment : chain_.readable()) length += segment.length;
      TRY(queue.push(chain_.head(), length));
    }
    if (TRY(queue.wants_interrupt())) active_->interrupts.queue_used(queue_index);
    static_cast<void>(TRY(queue.enable_doorbell()));
    return {};
  }
  bool served_at_exit(std::uint16_t) const override { return at_exit; }
  void reset() override {
    active_.reset();
    ++resets;
  }

  void save(StateWriter& writer) const override { writer.put_bytes(config); }
  Result<void> restore(StateReader& reader) override { return reader.get_bytes(config); }

  bool active() const { return active_.has_value(); }
  VirtioInterrupts& interrupts() { return active_->interrupts; }

  std::array<std::byte, 8> config{};
  std::uint64_t features = 0;
  bool at_exit = false;
  int activations = 0;
  int resets = 0;
  int calls = 0;
  bool refuse = false;

 private:
  std::optional<VirtioActivation> active_;
  DescriptorChain chain_;
};

}  // namespace bulkhead
