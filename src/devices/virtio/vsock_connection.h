// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"
#include "devices/virtio/vsock_buffer.h"
#include "devices/virtio/vsock_wire.h"
#include "mem/dma_space.h"

namespace bulkhead {

// Names a connection; the CIDs are always the same two.
struct VsockPorts {
  std::uint32_t host = 0;
  std::uint32_t guest = 0;
  auto operator<=>(const VsockPorts&) const = default;
};

// One stream between a Unix socket of the host and a port of the guest. It knows its state, its
// socket and the credit of both sides (virtio 1.2 §5.10.6.3); the device moves the packets.
//
// Bytes that the socket does not take at once wait in a buffer that the announced credit bounds.
// Bytes for the guest wait in the socket. So neither side can make the other's bytes pile up here.
class VsockConnection final : public EventHandler {
 public:
  // Its device, called on the loop's thread, without the lock.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void connection_ready(VsockConnection& connection, std::uint32_t events) = 0;
  };

  enum class State : std::uint8_t {
    kGreeting,   // a client of the host has to say what it wants
    kRequested,  // the guest has to accept or refuse
    kEstablished,
    kDead,  // waits to be freed
  };
  enum class Greeting : std::uint8_t { kIncomplete, kComplete, kBad };

  // A client that has just connected, or with kEstablished a request of the guest that succeeded.
  struct Setup {
    VsockPorts ports;
    State state = State::kGreeting;
    std::uint32_t window = 0;  // how many bytes the guest may send ahead
  };
  VsockConnection(Owner& owner, Fd socket, const Setup& setup);

  State state() const { return state_; }
  VsockPorts ports() const { return ports_; }
  // When the other side has to have done what it must, in ms of the monotonic clock; 0: never.
  std::int64_t deadline_ms() const { return deadline_ms_; }
  void set_deadline_ms(std::int64_t when) { deadline_ms_ = when; }
  // Whether the device has it in its list of those with something to send.
  bool queued = false;

  Result<void> watch(EventLoop& loop);
  void kill();

  // From the socket.
  void note_events(std::uint32_t events);
  // With kComplete the guest's port is known, and a request for it is to be sent.
  Greeting read_greeting();

  // From the guest. False when it broke the protocol: the connection must be reset. Before the
  // response, no other packet is in order.
  void take_credit(const virtio_vsock::Header& header);
  bool take_response();
  Result<bool> take_data(DmaReader& payload, std::uint32_t length);
  void take_shutdown(std::uint32_t flags);
  void take_credit_request() { credit_update_due_ = true; }

  // To the guest.
  bool has_packet() const;
  // Makes the next packet, its data in `payload`. False when there was nothing after all.
  Result<bool> next_packet(virtio_vsock::Header& header, DmaWriter& payload);
  // The guest has heard of it, and has to hear when it ends.
  bool known_to_guest() const { return state_ == State::kEstablished || request_sent_; }

  // The guest will neither send nor receive, and has everything delivered: answer with a reset.
  bool finished() const;
  // Nobody is left on the host's side, before the guest accepted.
  bool abandoned() const { return state_ != State::kEstablished && hung_up_; }
  // The host's side is gone, the guest was told so, and has to answer with a reset.
  bool awaits_reset() const { return told_shutdown_ == virtio_vsock::kShutdownBoth; }

 private:
  void on_ready(std::uint32_t events) override { owner_.connection_ready(*this, events); }

  std::uint32_t credit() const;
  bool may_send_data() const;
  Result<bool> read_data(virtio_vsock::Header& header, DmaWriter& payload);
  Result<std::uint32_t> write_now(DmaReader& payload, std::uint32_t length);
  void flush();
  void forward(std::uint32_t count);
  void write_failed();
  void update_watch();
  void make_packet(virtio_vsock::Header& header, virtio_vsock::Op op);

  Owner& owner_;
  Fd socket_;
  VsockPorts ports_;
  State state_;
  std::int64_t deadline_ms_ = 0;

  // What is to be sent besides data.
  bool opening_due_;  // the request, or the response to one
  bool request_sent_ = false;
  bool credit_update_due_ = false;
  bool credit_request_due_ = false;
  std::uint32_t own_shutdown_ = 0;   // what the host's side does no more
  std::uint32_t told_shutdown_ = 0;  // what the guest was told of that
  std::uint32_t peer_shutdown_ = 0;  // what the guest does no more

  bool readable_ = false;  // bytes, or their end, may be there to read
  bool ended_ = false;     // the peer writes no more, or is gone
  bool hung_up_ = false;   // the peer is gone
  bool write_closed_ = false;
  bool watching_write_ = false;

  // Counts of bytes wrap, on both sides.
  std::uint32_t window_;
  std::uint32_t received_ = 0;        // from the guest
  std::uint32_t forwarded_ = 0;       // of those, passed on to the socket
  std::uint32_t told_forwarded_ = 0;  // of those, known to the guest
  std::uint32_t sent_ = 0;            // to the guest
  std::uint32_t peer_window_ = 0;
  std::uint32_t peer_forwarded_ = 0;

  VsockBuffer buffer_;
  Watch watch_;
};

}  // namespace bulkhead
