// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "base/byte_reader.h"
#include "base/host_counter.h"
#include "mem/ledger_format.h"

// What a monitor and bulkheadd say to each other: docs/formats/ledger.md. One message is one packet
// of a SOCK_SEQPACKET socket; numbers are little-endian.

namespace bulkhead::daemon {

inline constexpr std::uint32_t kProtocolVersion = 1;
inline constexpr const char* kDefaultSocket = "/run/bulkheadd/socket";
inline constexpr std::size_t kMaxExtents = 4096;  // of one partition
inline constexpr std::size_t kHeaderBytes = 8;
inline constexpr std::size_t kNameBytes = 64;
inline constexpr std::size_t kRunBytes = 16;
inline constexpr std::size_t kMaxText = 200;
inline constexpr std::size_t kMaxRequest =
    kHeaderBytes + kNameBytes + 8 + kMaxExtents * kRunBytes;  // an enter
inline constexpr std::size_t kMaxReply = 1024;
inline constexpr std::size_t kNonceBytes = 32;
// On the copy with which kMeasure is answered, and F_SEAL_SEAL: nobody can change it any more.
inline constexpr int kCopySeals = 0xf;
inline constexpr std::size_t kMaxPublicArea = 1024;  // of a TPM's key
// The file with which kCertify is answered: three times u32 length, bytes, of the endorsement key's
// certificate, the attestation key's, and the certificates of who issued them.
inline constexpr std::size_t kMaxCertificatesFile = 64 * 1024;

// A request: this, a serial number that comes back, and what follows.
enum class Request : std::uint32_t {
  kHello = 1,  // u32 version, u32 0                      -> u32 version, u32 0
  kEnter = 2,  // name[64], u32 count, u32 0, count runs  -> u32 slot, u32 generation
  kTake = 3,   // u64 frames, u32 backing, u32 node       -> run, u32 backing, u32 0, u64 offset, fd
  kGiveBack = 4,    // run
  kSeal = 5,        // run
  kUnseal = 6,      // run
  kPlace = 7,       // run, u64 guest frame
  kGrant = 8,       // u64 page, u64 pages, u32 slot, u32 generation, u32 rights, u32 0 -> u64 grant
  kRevoke = 9,      // u64 grant
  kSnapshot = 10,   //                                        -> fd
  kPools = 11,      //                                        -> u32 count, u32 0, count pools
  kChallenge = 12,  //                                       -> nonce[32]
  // nonce[32], u32 length of the endorsement key, u32 of the attestation key, both keys -> fd
  kCertify = 13,
  // u32 1: a copy, too, u32 0, fd of a file           -> sha256[32], sha384[48], and fd of the copy
  kMeasure = 14,
  // u32 CounterAction, u32 index, password[32]           -> u32 index, u32 0, u64 value
  kCount = 15,
};

// The length of a request with its header; of kEnter without the runs, of kCertify without the
// keys. 0: no such request.
constexpr std::size_t request_bytes(Request request) {
  switch (request) {
    case Request::kHello:
    case Request::kRevoke:
    case Request::kMeasure:
      return kHeaderBytes + 8;
    case Request::kEnter:
      return kHeaderBytes + kNameBytes + 8;
    case Request::kTake:
    case Request::kGiveBack:
    case Request::kSeal:
    case Request::kUnseal:
      return kHeaderBytes + 16;
    case Request::kPlace:
      return kHeaderBytes + 24;
    case Request::kGrant:
      return kHeaderBytes + 32;
    case Request::kSnapshot:
    case Request::kPools:
    case Request::kChallenge:
      return kHeaderBytes;
    case Request::kCertify:
      return kHeaderBytes + kNonceBytes + 8;
    case Request::kCount:
      return kHeaderBytes + 8 + kCounterPasswordBytes;
  }
  return 0;
}

// Those may be longer than request_bytes().
constexpr bool has_more(Request request) {
  return request == Request::kEnter || request == Request::kCertify;
}

inline constexpr std::uint32_t kToHostTools = ~std::uint32_t{0};  // in place of a grantee's slot

// An answer: status (0, or 1 + Errc), the serial number, and what the request says, or a text.
constexpr std::uint32_t status_of(Errc code) {
  return 1 + static_cast<std::uint32_t>(code);
}
constexpr Errc errc_of(std::uint32_t status) {
  return status > status_of(Errc::kIo) ? Errc::kIo : static_cast<Errc>(status - 1);
}

// Puts a message of ours together. What goes in has been bounded before.
template <std::size_t N>
class MessageWriter {
 public:
  MessageWriter() = default;  // of what follows the header
  MessageWriter(std::uint32_t first, std::uint32_t serial) { put(first).put(serial); }

  template <std::unsigned_integral T>
  MessageWriter& put(T value) {
    put_le(std::span(bytes_), used_, value);
    used_ += sizeof value;
    return *this;
  }
  MessageWriter& put(FrameRun run) { return put(run.first.value()).put(run.frames); }
  MessageWriter& put(std::span<const std::byte> bytes) {
    CHECK(range_fits(used_, bytes.size(), N));
    std::ranges::copy(bytes, bytes_.begin() + static_cast<std::ptrdiff_t>(used_));
    used_ += bytes.size();
    return *this;
  }
  // Padded with zeroes, or cut.
  MessageWriter& put_text(std::string_view text, std::size_t field_bytes) {
    CHECK(range_fits(used_, field_bytes, N));
    std::memcpy(bytes_.data() + used_, text.data(), std::min(text.size(), field_bytes));
    used_ += field_bytes;
    return *this;
  }
  std::span<const std::byte> bytes() const { return std::span(bytes_).first(used_); }

 private:
  std::array<std::byte, N> bytes_{};
  std::size_t used_ = 0;
};

inline Result<FrameRun> read_run(ByteReader& reader) {
  const FrameIndex first(TRY(reader.read<std::uint64_t>()));
  return FrameRun{first, TRY(reader.read<std::uint64_t>())};
}

}  // namespace bulkhead::daemon
