// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/log.h"
#include "devices/virtio/device.h"
#include "devices/virtio/net_backend.h"
#include "devices/virtio/net_receiver.h"
#include "devices/virtio/net_wire.h"

namespace bulkhead {

struct NetOptions {
  enum class Backend : std::uint8_t {
    kTap,     // see TapBackend
    kStream,  // see StreamBackend
  };

  Backend backend = Backend::kTap;
  Fd fd;
  std::array<std::uint8_t, 6> mac{};
  std::uint16_t mtu = 1500;
};

// A network card with one queue in each direction (virtio 1.2 §5.1).
class VirtioNet : public VirtioDevice, private EventHandler {
 public:
  static constexpr std::uint16_t kReceiveQueue = 0;
  static constexpr std::uint16_t kTransmitQueue = 1;

  // Refuses a descriptor that is not what `backend` says, a multicast or zero address, and an MTU
  // below 68 or above 65521.
  static Result<std::unique_ptr<VirtioNet>> create(NetOptions options, DmaSpace& space,
                                                   EventLoop& loop);

  std::string_view name() const override { return "virtio-net"; }
  std::uint32_t device_id() const override { return 1; }
  std::uint64_t offered_features() const override;
  std::span<const std::uint16_t> queue_sizes() const override { return kQueueSizes; }
  void read_config(std::uint64_t offset, std::span<std::byte> bytes) override;
  void write_config(std::uint64_t offset, std::span<const std::byte> bytes) override;
  Result<void> activate(const VirtioActivation& activation) override;
  Result<void> process_queue(std::uint16_t queue_index) override;
  void reset() override;

  void save(StateWriter& writer) const override;
  Result<void> restore(StateReader& reader) override;

  // Whether the host's side still has the other end of the cable.
  bool link_up() const { return link_up_; }
  // Frames of the driver that were refused.
  std::uint64_t dropped() const { return dropped_; }

 private:
  static constexpr std::array<std::uint16_t, 2> kQueueSizes = {kMaxQueueSize, kMaxQueueSize};

  // Work that goes on without the driver or the backend giving a sign: an eventfd's handler.
  struct Continuation : EventHandler {
    explicit Continuation(VirtioNet& device) : owner(device) {}
    void on_ready(std::uint32_t events) override;
    VirtioNet& owner;
  };

  VirtioNet(std::unique_ptr<NetBackend> backend, const virtio_net::Config& config, DmaSpace& space,
            Fd again);
  Result<void> watch(EventLoop& loop);

  // The backend's descriptor is ready.
  void on_ready(std::uint32_t events) override;
  void on_again();
  Result<void> receive();
  Result<void> transmit();
  // At most a queue's worth; sets blocked_ when the backend takes no more.
  Result<void> transmit_batch(VirtQueue& frames);
  Result<NetBackend::Sent> send(const DescriptorChain& chain);
  void drop();
  void set_link_down();
  // Asks epoll for what there is use for: neither a full nor an idle queue spins.
  void update_interest();
  // After work that the driver did not ask for just now.
  void conclude(const Result<void>& result);

  VirtQueue& queue(std::uint16_t index) { return active_->queues[index]; }

  DmaSpace& space_;
  std::unique_ptr<NetBackend> backend_;
  virtio_net::Config config_;
  NetReceiver receiver_;
  std::optional<VirtioActivation> active_;
  bool broken_ = false;   // the driver broke the protocol: nothing happens until reset()
  bool starved_ = false;  // the driver has to offer receive buffers, and will ring then
  bool blocked_ = false;  // the backend takes no more for now
  bool link_up_ = true;
  std::uint64_t dropped_ = 0;
  LogLimiter limiter_;

  Continuation continuation_;
  Fd again_;
  std::uint32_t interest_ = 0;
  Watch watch_;
  Watch again_watch_;
};

}  // namespace bulkhead
