// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "devices/virtio/device.h"
#include "devices/virtio/queue_service.h"

namespace bulkhead {

// A virtio entropy device (virtio 1.2 §5.4), fed by the host kernel's generator.
class VirtioRng final : public VirtioDevice {
 public:
  // A request may ask for more, and gets this much (§5.4.6.1 allows that).
  static constexpr std::uint32_t kMaxRequestBytes = 4096;

  static Result<std::unique_ptr<VirtioRng>> create(DmaSpace& space, EventLoop& loop);

  std::string_view name() const override { return "virtio-rng"; }
  std::uint32_t device_id() const override { return 4; }
  std::uint64_t offered_features() const override { return 0; }
  std::span<const std::uint16_t> queue_sizes() const override;
  void read_config(std::uint64_t offset, std::span<std::byte> bytes) override;
  void write_config(std::uint64_t, std::span<const std::byte>) override {}
  Result<void> activate(const VirtioActivation& activation) override;
  Result<void> process_queue(std::uint16_t queue_index) override;
  void reset() override { service_->reset(); }

  void save(StateWriter& writer) const override;
  Result<void> restore(StateReader& reader) override;

 private:
  explicit VirtioRng(DmaSpace& space) : space_(space) {}

  Result<QueueService::Served> fill(const DescriptorChain& chain);

  DmaSpace& space_;
  std::unique_ptr<QueueService> service_;
};

}  // namespace bulkhead
