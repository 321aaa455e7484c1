// SPDX-License-Identifier: Apache-2.0
#include "attest/tpm_attest.h"

#include <algorithm>

namespace bulkhead {
namespace {

// TPM 2.0 Part 2: a TPM2B_NAME and a TPM2B_DATA hold a TPMT_HA at most, which is an algorithm and
// its digest; a TPM2B_DIGEST a digest. SHA-512's is the longest.
constexpr std::size_t kMaxTaggedDigestBytes = 2 + kMaxDigestBytes;

Error malformed(const char* what) {
  return Error{Errc::kMalformed, 0, what};
}

Result<TpmAttestKind> read_kind(ByteReader& reader) {
  TpmAttestKind kind;
  kind.magic = TRY(reader.read_be<std::uint32_t>());
  kind.type = TRY(reader.read_be<std::uint16_t>());
  return kind;
}

Result<TpmClockInfo> read_clock(ByteReader& reader) {
  TpmClockInfo clock;
  clock.clock_ms = TRY(reader.read_be<std::uint64_t>());
  clock.reset_count = TRY(reader.read_be<std::uint32_t>());
  clock.restart_count = TRY(reader.read_be<std::uint32_t>());
  const auto safe = TRY(reader.read_be<std::uint8_t>());
  if (safe > 1) return malformed("the clock is neither safe nor unsafe");  // TPMI_YES_NO
  clock.safe = safe == 1;
  return clock;
}

}  // namespace

Result<TpmAttestKind> parse_attest_kind(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  return read_kind(reader);
}

Result<TpmQuote> parse_tpm_quote(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  TpmQuote quote;
  quote.kind = TRY(read_kind(reader));
  quote.qualified_signer = copy_of(TRY(read_2b(reader, kMaxTaggedDigestBytes)));
  quote.extra_data = copy_of(TRY(read_2b(reader, kMaxTaggedDigestBytes)));
  quote.clock = TRY(read_clock(reader));
  quote.firmware_version = TRY(reader.read_be<std::uint64_t>());
  quote.selections = TRY(read_pcr_selections(reader));
  quote.pcr_digest = copy_of(TRY(read_2b(reader, kMaxDigestBytes)));
  TRY(expect_end(reader));
  return quote;
}

}  // namespace bulkhead
