// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "measure/pcr_values.h"

namespace bulkhead {

inline constexpr std::uint32_t kTpmGeneratedValue = 0xff544347;  // TPM_GENERATED_VALUE
inline constexpr std::uint16_t kTpmStAttestQuote = 0x8018;       // TPM_ST_ATTEST_QUOTE

// TPMS_CLOCK_INFO, TPM 2.0 Part 2, 10.11.1.
struct TpmClockInfo {
  std::uint64_t clock_ms = 0;
  std::uint32_t reset_count = 0;
  std::uint32_t restart_count = 0;
  bool safe = false;

  bool operator==(const TpmClockInfo&) const = default;
};

// What every TPMS_ATTEST begins with: that the TPM itself made it, and what it says.
struct TpmAttestKind {
  std::uint32_t magic = 0;
  std::uint16_t type = 0;

  bool operator==(const TpmAttestKind&) const = default;
};

// TPMS_ATTEST, TPM 2.0 Part 2, 10.12.12, with a TPMS_QUOTE_INFO.
struct TpmQuote {
  TpmAttestKind kind;
  Bytes qualified_signer;
  Bytes extra_data;
  TpmClockInfo clock;
  std::uint64_t firmware_version = 0;
  PcrSelections selections;
  Bytes pcr_digest;

  bool operator==(const TpmQuote&) const = default;
};

// The first six bytes alone, to tell what an attestation is that is no quote.
Result<TpmAttestKind> parse_attest_kind(std::span<const std::byte> bytes);

// Everything, nothing left over. `kind` is read and not judged: verify_quote() does, and says which
// part of it is wrong.
Result<TpmQuote> parse_tpm_quote(std::span<const std::byte> bytes);

}  // namespace bulkhead
