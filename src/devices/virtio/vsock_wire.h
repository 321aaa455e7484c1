// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// virtio 1.2 §5.10: what driver and device of a socket device agree on.

namespace bulkhead::virtio_vsock {

inline constexpr std::uint64_t kFeatureStream = 1;  // §5.10.3, bit 0

inline constexpr std::uint64_t kHostCid = 2;
inline constexpr std::uint64_t kMinGuestCid = 3;
inline constexpr std::uint64_t kMaxGuestCid = 0xfffffffe;
inline constexpr std::uint32_t kAnyPort = 0xffffffff;  // as Linux has it; never a real port

inline constexpr std::uint16_t kTypeStream = 1;

// §5.10.6
enum class Op : std::uint16_t {
  kInvalid = 0,
  kRequest = 1,
  kResponse = 2,
  kRst = 3,
  kShutdown = 4,
  kRw = 5,
  kCreditUpdate = 6,
  kCreditRequest = 7,
};

struct Header {
  std::uint64_t src_cid = 0;
  std::uint64_t dst_cid = 0;
  std::uint32_t src_port = 0;
  std::uint32_t dst_port = 0;
  std::uint32_t len = 0;
  std::uint16_t type = 0;
  Op op = Op::kInvalid;  // the driver may write any number
  std::uint32_t flags = 0;
  std::uint32_t buf_alloc = 0;
  std::uint32_t fwd_cnt = 0;
} __attribute__((packed));
static_assert(sizeof(Header) == 44 && offsetof(Header, op) == 30);

// Flags of kShutdown: what the sender of the packet will do no more.
inline constexpr std::uint32_t kShutdownReceive = 1;
inline constexpr std::uint32_t kShutdownSend = 2;
inline constexpr std::uint32_t kShutdownBoth = kShutdownReceive | kShutdownSend;

// §5.10.6.7
inline constexpr std::uint32_t kEventTransportReset = 0;

}  // namespace bulkhead::virtio_vsock
