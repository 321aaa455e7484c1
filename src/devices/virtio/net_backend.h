// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/fd.h"
#include "base/result.h"
#include "devices/virtio/net_wire.h"
#include "mem/dma_space.h"

namespace bulkhead {

// The host's end of a virtual network cable. Nothing here blocks. An Error from send() or receive()
// is the driver's fault (it named memory that does not exist); what befalls the host's side is an
// outcome, since a guest lives on without a network.
class NetBackend {
 public:
  enum class Sent : std::uint8_t {
    kTaken,
    kBlocked,  // nothing was taken: offer the frame again when the descriptor is writable
    kDropped,  // a frame that the host's side refuses
    kClosed,   // the other side is gone for good
  };

  struct Received {
    enum class Kind : std::uint8_t {
      kFrame,      // `size` bytes were written, the header included
      kNothing,    // no frame waits
      kNeedsRoom,  // a frame waits that takes `size` bytes
      kDropped,    // a frame came that is not one for this guest
      kClosed,     // the other side is gone for good
    };
    Kind kind = Kind::kNothing;
    std::size_t size = 0;
  };

  virtual ~NetBackend() = default;

  // For epoll: readable when frames may wait, writable when a blocked frame may pass.
  virtual int fd() const = 0;
  // Those of virtio_net::kOffloads that the backend can do.
  virtual std::uint64_t offloads() const = 0;
  // A driver begins: its choice of features, and the MTU.
  virtual Result<void> start(std::uint64_t features, std::uint16_t mtu) = 0;

  // Takes the rest of `frame`, in front of which the driver put `header`, which has been checked.
  virtual Result<Sent> send(const virtio_net::Header& header, DmaReader& frame) = 0;
  // Whether a part of a frame that was taken still waits for the descriptor to become writable.
  virtual bool unsent() const { return false; }
  // Tries again to pass that on: kTaken once nothing waits.
  virtual Sent flush() { return Sent::kTaken; }

  // How much room receive() would like; a frame that needs less than it is offered takes less.
  virtual std::size_t wanted_room() const = 0;
  // Writes the next frame, behind its header, to `to`. num_buffers is the caller's to set.
  virtual Result<Received> receive(DmaWriter& to) = 0;
  // Gives up the frame for which receive() needed room.
  virtual void drop_waiting() = 0;

 protected:
  static Result<void> make_nonblocking(const Fd& fd);
  static bool would_block(int error_number);
};

}  // namespace bulkhead
