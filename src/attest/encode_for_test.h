// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "attest/tpm_attest.h"
#include "attest/tpm_signature.h"
#include "measure/tpm_wire.h"

namespace bulkhead {

// The structures as a TPM writes them: what the parsers accept is exactly this again.

inline Bytes encode(const TpmQuote& quote) {
  TpmWriter writer;
  writer.u32(quote.kind.magic).u16(quote.kind.type);
  writer.sized(quote.qualified_signer).sized(quote.extra_data);
  writer.u64(quote.clock.clock_ms).u32(quote.clock.reset_count).u32(quote.clock.restart_count);
  writer.u8(quote.clock.safe ? 1 : 0).u64(quote.firmware_version);
  write_pcr_selections(writer, quote.selections);
  return writer.sized(quote.pcr_digest).take();
}

inline Bytes encode(const TpmSignature& signature) {
  TpmWriter writer;
  writer.algorithm(signature.scheme).algorithm(signature.hash).sized(signature.first);
  if (signature.scheme == TpmAlg::kEcdsa) writer.sized(signature.second);
  return writer.take();
}

}  // namespace bulkhead
