// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <map>
#include <string>

#include "measure/pcr_bank.h"
#include "measure/tpm_wire.h"

namespace bulkhead {

// A platform configuration register of one bank.
struct PcrId {
  TpmAlg bank = TpmAlg::kSha256;
  unsigned index = 0;

  auto operator<=>(const PcrId&) const = default;
};

std::string to_string(PcrId pcr);  // "sha256:4"

// TPMS_PCR_SELECTION, TPM 2.0 Part 2, 10.6.2: bit i of `pcrs` is PCR i.
struct PcrSelection {
  TpmAlg bank = TpmAlg::kSha256;
  std::uint32_t pcrs = 0;

  bool has(unsigned index) const { return index < kPcrCount && (pcrs >> index & 1) != 0; }
  bool operator==(const PcrSelection&) const = default;
};

using PcrSelections = std::vector<PcrSelection>;

std::string to_string(const PcrSelections& selections);  // "sha256:0,4,8-10+sha1:0", or "none"

// TPML_PCR_SELECTION. kMalformed for a bank of an unknown hash, or one that comes twice.
Result<PcrSelections> read_pcr_selections(ByteReader& reader);
void write_pcr_selections(TpmWriter& writer, const PcrSelections& selections);

// What PCRs hold. Each value has its bank's size, so that values in a row can be cut in one way.
class PcrValues {
 public:
  // kMalformed for a value of the wrong size, kOutOfRange for no such PCR, kExists for a second
  // one.
  Result<void> set(PcrId pcr, std::span<const std::byte> value);

  // Null where no value is known.
  const Bytes* find(PcrId pcr) const;
  const std::map<PcrId, Bytes>& all() const { return values_; }

  // The values of what is selected; kNotFound if one is missing.
  Result<PcrValues> selected(const PcrSelections& selections) const;
  bool operator==(const PcrValues&) const = default;

 private:
  std::map<PcrId, Bytes> values_;
};

// The digest in a quote, TPM 2.0 Part 3, 18.4: over the selected values, banks in the selection's
// order, PCRs ascending. kNotFound if a value is missing.
Result<Bytes> pcr_digest(HashAlgorithm hash, const PcrSelections& selections,
                         const PcrValues& values);

}  // namespace bulkhead
