// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/log.h"
#include "devices/virtio/device.h"
#include "devices/virtio/vsock_connection.h"
#include "devices/virtio/vsock_listener.h"
#include "devices/virtio/vsock_table.h"
#include "devices/virtio/vsock_wire.h"

namespace bulkhead {

struct VsockOptions {
  std::uint64_t guest_cid = 3;
  std::string path;  // see VsockListener
  // How long a host's client may take for its greeting, and the guest to accept a connection or to
  // confirm the end of one.
  std::uint32_t timeout_ms = 5000;
};

// Stream sockets between the guest and Unix sockets of the host (virtio 1.2 §5.10).
//
// Into the guest: a client connects to PATH, sends "CONNECT <port>\n", and gets "OK <host port>\n"
// when the guest has accepted; or the connection is closed. Out of the guest, to port P of CID 2:
// the device connects to PATH_P, or refuses.
class VirtioVsock : public VirtioDevice, public VsockConnection::Owner {
 public:
  static constexpr std::uint16_t kReceiveQueue = 0;
  static constexpr std::uint16_t kTransmitQueue = 1;
  static constexpr std::uint16_t kEventQueue = 2;

  // Refuses a CID that is not a guest's, and a path as VsockListener does.
  static Result<std::unique_ptr<VirtioVsock>> create(const VsockOptions& options, DmaSpace& space,
                                                     EventLoop& loop);

  std::string_view name() const override { return "virtio-vsock"; }
  std::uint32_t device_id() const override { return 19; }
  std::uint64_t offered_features() const override { return virtio_vsock::kFeatureStream; }
  std::span<const std::uint16_t> queue_sizes() const override { return kQueueSizes; }
  void read_config(std::uint64_t offset, std::span<std::byte> bytes) override;
  void write_config(std::uint64_t offset, std::span<const std::byte> bytes) override;
  Result<void> activate(const VirtioActivation& activation) override;
  Result<void> process_queue(std::uint16_t queue_index) override;
  void reset() override;

  // Connections do not outlive a save; the restored driver is told (virtio 1.2 §5.10.6.7).
  void save(StateWriter& writer) const override;
  Result<void> restore(StateReader& reader) override;

  // With the lock held.
  std::size_t connections() const { return table_.size(); }
  // Packets of the driver that made no sense.
  std::uint64_t dropped() const { return dropped_; }

 private:
  static constexpr std::array<std::uint16_t, 3> kQueueSizes = {256, 256, 16};
  // Answers to packets of no connection. While so many wait for receive buffers, no more packets
  // are taken.
  static constexpr std::size_t kMaxReplies = 256;

  using Member = void (VirtioVsock::*)();
  // Calls a member of the device, with its lock, when a descriptor is readable.
  struct Handler : EventHandler {
    Handler(VirtioVsock& device, Member member) : owner(device), call(member) {}
    void on_ready(std::uint32_t events) override;
    VirtioVsock& owner;
    Member call;
  };

  VirtioVsock(const VsockOptions& options, DmaSpace& space, EventLoop& loop,
              VsockListener listener);
  Result<void> watch();

  // On the loop's thread.
  void connection_ready(VsockConnection& connection, std::uint32_t events) override;
  void on_clients();
  void on_timer();
  void on_again();

  bool running() const { return active_ && !broken_; }
  VirtQueue& queue(std::uint16_t index) { return active_->queues[index]; }

  // From the guest.
  Result<void> handle_queue(std::uint16_t queue_index);
  Result<void> take_packets();
  Result<void> take_packet(const DescriptorChain& chain);
  Result<void> dispatch(const virtio_vsock::Header& header, DmaReader& payload);
  Result<bool> deliver(VsockConnection& connection, const virtio_vsock::Header& header,
                       DmaReader& payload);
  void open_from_guest(const virtio_vsock::Header& header);

  // To the guest.
  Result<void> send_packets();
  // At most a queue's worth. Whether there may be more to send, and buffers for it.
  Result<bool> send_batch(VirtQueue& buffers);
  // False when there was nothing to send after all.
  Result<bool> send_packet(const DescriptorChain& chain);
  Result<bool> next_packet(virtio_vsock::Header& header, DmaWriter& payload);
  Result<void> send_event();
  void reply_reset(const VsockPorts& ports) { replies_.push_back(ports); }

  // Connections. Nothing when there are too many; the socket is closed then.
  VsockConnection* add(Fd socket, const VsockConnection::Setup& setup);
  void greet(VsockConnection& connection);
  // What follows from the state that a connection has got into.
  void settle(VsockConnection& connection);
  // Ends it, without a word to the guest or with one.
  void close(VsockConnection& connection);
  void abort(VsockConnection& connection);
  void start_deadline(VsockConnection& connection);
  void arm_timer(std::int64_t delay_ms);
  void listen(bool on);
  // The driver broke the protocol: stops until reset().
  void give_up();
  // After work that the driver did not ask for just now.
  void conclude(const Result<void>& result);
  void refuse_packet(const char* why);

  const VsockOptions options_;
  DmaSpace& space_;
  EventLoop& loop_;
  VsockListener listener_;

  std::optional<VirtioActivation> active_;
  bool broken_ = false;         // the driver broke the protocol: nothing happens until reset()
  bool transmit_held_ = false;  // packets wait until replies_ got shorter
  bool event_due_ = false;      // the driver has to be told that it was restored
  bool listening_ = false;
  bool timer_armed_ = false;
  std::uint64_t dropped_ = 0;
  LogLimiter limiter_;

  VsockTable table_;
  std::deque<VsockConnection*> ready_;  // with something to send, in turn
  std::deque<VsockPorts> replies_;      // to be answered with a reset

  Fd timer_;
  Fd again_;  // has on_again() called
  Handler clients_handler_;
  Handler timer_handler_;
  Handler again_handler_;
  Watch clients_watch_;
  Watch timer_watch_;
  Watch again_watch_;
};

}  // namespace bulkhead
