// SPDX-License-Identifier: Apache-2.0
#include "vtpm/response.h"

#include "base/check.h"
#include "devices/tpm.h"

namespace bulkhead::vtpm {
namespace {

constexpr std::size_t kHeaderBytes = 10;
constexpr std::size_t kSizeAt = 2;
constexpr std::size_t kCodeAt = 6;
// TPM 2.0 Part 2, "TPM_ST": of a response to a malformed command, and of all others.
constexpr std::uint32_t kTagRspCommand = 0x00c4;
constexpr std::uint32_t kTagNoSessions = 0x8001;
constexpr std::uint32_t kTagSessions = 0x8002;

// The TPM's numbers are big-endian.
std::uint32_t big_endian(std::span<const std::byte> bytes) {
  std::uint32_t value = 0;
  for (std::byte byte : bytes) value = value << 8 | std::to_integer<std::uint32_t>(byte);
  return value;
}

}  // namespace

bool is_response(std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderBytes || bytes.size() > kTpmBufferBytes) return false;
  const std::uint32_t tag = big_endian(bytes.first(2));
  return (tag == kTagRspCommand || tag == kTagNoSessions || tag == kTagSessions) &&
         big_endian(bytes.subspan(kSizeAt, 4)) == bytes.size();
}

std::uint32_t response_code(std::span<const std::byte> response) {
  CHECK(response.size() >= kHeaderBytes);
  return big_endian(response.subspan(kCodeAt, 4));
}

}  // namespace bulkhead::vtpm
