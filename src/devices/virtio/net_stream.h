// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/fd.h"
#include "devices/virtio/net_backend.h"

namespace bulkhead {

// A stream socket to a user-mode network such as passt: each frame comes after its length, 4 bytes
// big-endian (the protocol of QEMU's "-netdev stream"). No header, no offloads.
class StreamBackend : public NetBackend {
 public:
  static Result<std::unique_ptr<StreamBackend>> create(Fd fd);

  int fd() const override { return fd_.get(); }
  std::uint64_t offloads() const override { return 0; }
  Result<void> start(std::uint64_t features, std::uint16_t mtu) override;

  Result<Sent> send(const virtio_net::Header& header, DmaReader& frame) override;
  bool unsent() const override { return !unsent_.empty(); }
  Sent flush() override;

  std::size_t wanted_room() const override { return sizeof(virtio_net::Header) + 1; }
  Result<Received> receive(DmaWriter& to) override;
  void drop_waiting() override;

 private:
  static constexpr std::size_t kPrefix = 4;
  // Several frames fit, so that one system call fetches them all.
  static constexpr std::size_t kBufferSize = 2 * (kPrefix + virtio_net::kMaxFrame);

  explicit StreamBackend(Fd fd) : fd_(std::move(fd)) {}
  std::span<const std::byte> buffered() const {
    return std::span(buffer_).subspan(begin_, end_ - begin_);
  }
  void consume(std::size_t count);
  // Reads what the socket has, as far as there is place.
  enum class Fill : std::uint8_t { kMore, kNothing, kClosed };
  Fill fill();
  // The size of the frame at the front of the buffer, whole, reading more if need be.
  Received next_frame();
  Received whole_frame(std::size_t length);
  // Copies what the socket did not take, after `done` bytes of length and frame.
  void keep_rest(DmaReader& frame, std::span<const std::byte, 4> prefix, std::size_t done);

  Fd fd_;
  std::size_t max_frame_ = 0;      // as the MTU has it
  std::vector<std::byte> buffer_;  // [begin_, end_) was received and not used yet
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::vector<std::byte> unsent_;  // the rest of a frame of which the socket took a part
};

}  // namespace bulkhead
