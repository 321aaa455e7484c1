// SPDX-License-Identifier: Apache-2.0
#include "attest/host_identity.h"

#include <algorithm>

namespace bulkhead {
namespace {

// SEQUENCE of 40 bytes: INTEGER 1, ENUMERATED of one byte, OCTET STRING of 32 bytes. DER leaves no
// choice, so the value has one form.
constexpr unsigned char kHead[] = {0x30, 0x28, 0x02, 0x01, 0x01, 0x0a, 0x01};
constexpr unsigned char kDigestHead[] = {0x04, 0x20};

bool take_exactly(ByteReader& reader, std::span<const unsigned char> wanted) {
  const auto bytes = reader.take(wanted.size());
  return bytes && std::ranges::equal(*bytes, std::as_bytes(wanted));
}

}  // namespace

std::string to_string(const HostIdentity& identity) {
  const char* kind = identity.kind == HostIdentity::Kind::kTpm ? "TPM " : "software key ";
  return kind + to_hex(identity.fingerprint);
}

Bytes serialize(const HostIdentity& identity) {
  TpmWriter writer;
  writer.raw(std::as_bytes(std::span(kHead))).u8(static_cast<std::uint8_t>(identity.kind));
  return writer.raw(std::as_bytes(std::span(kDigestHead))).raw(identity.fingerprint).take();
}

Result<HostIdentity> parse_host_identity(std::span<const std::byte> der) {
  const Error malformed{Errc::kMalformed, 0, "a malformed host identity"};
  ByteReader reader(der);
  HostIdentity identity;
  if (!take_exactly(reader, kHead)) return malformed;
  const auto kind = TRY(reader.read<std::uint8_t>());
  if (kind > static_cast<std::uint8_t>(HostIdentity::Kind::kSoftware)) return malformed;
  identity.kind = static_cast<HostIdentity::Kind>(kind);
  if (!take_exactly(reader, kDigestHead)) return malformed;
  const auto digest = TRY(reader.take(identity.fingerprint.size()));
  std::ranges::copy(digest, identity.fingerprint.begin());
  TRY(expect_end(reader));
  return identity;
}

}  // namespace bulkhead
