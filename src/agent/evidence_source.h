// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "agent/guest_tpm.h"
#include "attest/evidence.h"
#include "attest/quote_verifier.h"

namespace bulkhead::agent {

// The PCRs that the monitor measures into: docs/measured-boot.md.
inline constexpr std::uint32_t kMeasuredPcrs = 0x3ff;

// Makes evidence of what this partition is: docs/formats/evidence.md. Between a challenge and its
// answer there is the quote alone: all else is read beforehand, as a challenge does not live long.
class EvidenceSource {
 public:
  struct Options {
    PcrSelections pcrs = {{TpmAlg::kSha256, kMeasuredPcrs}};
    Bytes event_log;
  };

  // Makes the attestation key, and finds its certificates. kNotFound if it has none. Makes use of
  // the TPM until its end.
  static Result<EvidenceSource> create(Tpm& tpm, Options options);

  Result<Evidence> make(const Challenge& challenge);

 private:
  // The attestation key as long as it is loaded.
  struct Loaded;
  struct Unload {
    void operator()(Loaded* loaded) const;
  };

  EvidenceSource(std::unique_ptr<Loaded, Unload> loaded, Options options)
      : loaded_(std::move(loaded)), options_(std::move(options)) {}

  std::unique_ptr<Loaded, Unload> loaded_;
  Options options_;
  std::vector<Bytes> certificates_;
};

// The certificates that lie one behind the other, in DER. kMalformed for anything else.
Result<std::vector<Bytes>> split_certificates(std::span<const std::byte> chain);

}  // namespace bulkhead::agent
