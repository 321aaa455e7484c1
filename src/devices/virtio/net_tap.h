// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/fd.h"
#include "devices/virtio/net_backend.h"

namespace bulkhead {

// A TAP device of the host's kernel. Frames go straight between guest memory and the kernel, with
// their virtio header, so checksums and segmentation are left to whoever does them last.
//
// The descriptor is /dev/net/tun, attached with IFF_TAP | IFF_NO_PI | IFF_VNET_HDR and a header of
// 12 bytes; or a packet socket pair (SOCK_DGRAM, SOCK_SEQPACKET) whose peer speaks the same.
class TapBackend : public NetBackend {
 public:
  static Result<std::unique_ptr<TapBackend>> create(Fd fd);

  int fd() const override { return fd_.get(); }
  std::uint64_t offloads() const override { return virtio_net::kOffloads; }
  Result<void> start(std::uint64_t features, std::uint16_t mtu) override;

  Result<Sent> send(const virtio_net::Header& header, DmaReader& frame) override;

  std::size_t wanted_room() const override;
  Result<Received> receive(DmaWriter& to) override;
  void drop_waiting() override { waiting_ = 0; }

 private:
  // Up to this size a frame is cheaper to copy than to find guest buffers for the longest one.
  static constexpr std::size_t kCopyLimit = 4096;

  TapBackend(Fd fd, bool is_tap) : fd_(std::move(fd)), is_tap_(is_tap) {}
  Result<Received> receive_direct(DmaWriter& to);
  Received fetch();
  Received classify(std::size_t size);

  Fd fd_;
  bool is_tap_;
  std::size_t max_size_ = 0;   // of a frame with its header, as the driver agreed to
  std::size_t last_size_ = 0;  // frames come in bursts of like size
  std::vector<std::byte> copy_;
  std::size_t waiting_ = 0;  // size of the frame in copy_; 0: none
};

}  // namespace bulkhead
