// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "devices/virtio/spec.h"

// virtio 1.2 §5.1: what driver and device of a network card agree on.

namespace bulkhead::virtio_net {

// §5.1.3. "Host" is the device's side, "guest" the driver's.
inline constexpr std::uint64_t kCsum = virtio::feature(0);
inline constexpr std::uint64_t kGuestCsum = virtio::feature(1);
inline constexpr std::uint64_t kMtu = virtio::feature(3);
inline constexpr std::uint64_t kMac = virtio::feature(5);
inline constexpr std::uint64_t kGuestTso4 = virtio::feature(7);
inline constexpr std::uint64_t kGuestTso6 = virtio::feature(8);
inline constexpr std::uint64_t kGuestEcn = virtio::feature(9);
inline constexpr std::uint64_t kHostTso4 = virtio::feature(11);
inline constexpr std::uint64_t kHostTso6 = virtio::feature(12);
inline constexpr std::uint64_t kHostEcn = virtio::feature(13);
inline constexpr std::uint64_t kMrgRxbuf = virtio::feature(15);
inline constexpr std::uint64_t kStatus = virtio::feature(16);

inline constexpr std::uint64_t kOffloads =
    kCsum | kGuestCsum | kGuestTso4 | kGuestTso6 | kGuestEcn | kHostTso4 | kHostTso6 | kHostEcn;

// §5.1.4
struct Config {
  std::uint8_t mac[6] = {};
  std::uint16_t status = 0;
  std::uint16_t max_virtqueue_pairs = 0;
  std::uint16_t mtu = 0;
};
static_assert(sizeof(Config) == 12 && offsetof(Config, mtu) == 10);

inline constexpr std::uint16_t kLinkUp = 1;

// §5.1.6. Comes before every frame, in both directions.
struct Header {
  std::uint8_t flags = 0;
  std::uint8_t gso_type = 0;
  std::uint16_t hdr_len = 0;
  std::uint16_t gso_size = 0;
  std::uint16_t csum_start = 0;
  std::uint16_t csum_offset = 0;
  std::uint16_t num_buffers = 0;
};
static_assert(sizeof(Header) == 12 && offsetof(Header, num_buffers) == 10);

inline constexpr std::uint8_t kNeedsCsum = 1;
inline constexpr std::uint8_t kGsoNone = 0;
inline constexpr std::uint8_t kGsoTcp4 = 1;
inline constexpr std::uint8_t kGsoTcp6 = 4;
inline constexpr std::uint8_t kGsoEcn = 0x80;

// The longest frame that any backend carries: 64 KiB - 1 behind an Ethernet header with a VLAN tag.
inline constexpr std::size_t kLinkHeader = 18;
inline constexpr std::size_t kMaxFrame = 65535 + kLinkHeader;

}  // namespace bulkhead::virtio_net
