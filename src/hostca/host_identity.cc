// SPDX-License-Identifier: Apache-2.0
#include "hostca/host_identity.h"

#include <algorithm>

namespace bulkhead {
namespace {

// SEQUENCE { INTEGER 1, ENUMERATED kind, OCTET STRING of 32 bytes }: all has a fixed length.
constexpr std::uint8_t kBeginning[] = {0x30, 0x28, 0x02, 0x01, 0x01, 0x0a, 0x01};
constexpr std::uint8_t kOctets[] = {0x04, 0x20};

}  // namespace

Bytes encode_host_identity(const HostIdentity& identity) {
  TpmWriter writer;
  writer.raw(std::as_bytes(std::span(kBeginning)));
  writer.u8(static_cast<std::uint8_t>(identity.kind));
  return writer.raw(std::as_bytes(std::span(kOctets))).raw(identity.fingerprint).take();
}

Result<HostIdentity> parse_host_identity(std::span<const std::byte> der) {
  HostIdentity identity;
  ByteReader reader(der);
  TRY(reader.skip(sizeof kBeginning));
  identity.kind = static_cast<HostKind>(TRY(reader.read<std::uint8_t>()));
  TRY(reader.skip(sizeof kOctets));
  std::ranges::copy(TRY(reader.take(identity.fingerprint.size())), identity.fingerprint.begin());
  const bool known = identity.kind == HostKind::kTpm || identity.kind == HostKind::kSoftware;
  // What was skipped is right if it would be written again.
  if (known && std::ranges::equal(encode_host_identity(identity), der)) return identity;
  return Error{Errc::kMalformed, 0, "a host's identity is not in its form"};
}

}  // namespace bulkhead
