// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "base/log.h"
#include "devices/console_backend.h"
#include "devices/virtio/device.h"
#include "devices/virtio/queue_service.h"

namespace bulkhead {

// A virtio console with one port (virtio 1.2 §5.3).
class VirtioConsole final : public VirtioDevice, public ConsoleInput {
 public:
  struct Size {
    std::uint16_t columns = 80;
    std::uint16_t rows = 25;
  };

  // Connects itself to the backend's virtio port for as long as it lives.
  static Result<std::unique_ptr<VirtioConsole>> create(DmaSpace& space, EventLoop& loop,
                                                       ConsoleBackend& backend);
  ~VirtioConsole() override;
  VirtioConsole(const VirtioConsole&) = delete;
  VirtioConsole& operator=(const VirtioConsole&) = delete;

  // The user's terminal has this size now. Any thread.
  void resize(Size size);

  std::string_view name() const override { return "virtio-console"; }
  std::uint32_t device_id() const override { return 3; }
  std::uint64_t offered_features() const override;
  std::span<const std::uint16_t> queue_sizes() const override;
  void read_config(std::uint64_t offset, std::span<std::byte> bytes) override;
  void write_config(std::uint64_t offset, std::span<const std::byte> bytes) override;
  Result<void> activate(const VirtioActivation& activation) override;
  Result<void> process_queue(std::uint16_t queue_index) override;
  bool served_at_exit(std::uint16_t queue_index) const override;
  void reset() override;

  std::size_t receive(std::span<const std::byte> bytes) override;

  void save(StateWriter& writer) const override;
  Result<void> restore(StateReader& reader) override;

 private:
  VirtioConsole(DmaSpace& space, ConsoleBackend& backend) : space_(space), backend_(backend) {}

  Result<void> transmit();
  Result<std::uint64_t> write_out(const DescriptorChain& chain);

  DmaSpace& space_;
  ConsoleBackend& backend_;
  Size size_;
  bool refused_input_ = false;
  LogLimiter limiter_;
  std::unique_ptr<QueueService> service_;
};

}  // namespace bulkhead
