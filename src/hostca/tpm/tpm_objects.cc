// SPDX-License-Identifier: Apache-2.0
#include "hostca/tpm/tpm_objects.h"

#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>

#include "base/log.h"
#include "crypto/openssl_bytes.h"

namespace bulkhead::hostca {

Result<TPM2B_PUBLIC> to_tss(const TpmPublic& object) {
  const Bytes area = serialize(object);
  TPM2B_PUBLIC out{};
  std::size_t offset = 0;
  const TSS2_RC code =
      Tss2_MU_TPMT_PUBLIC_Unmarshal(openssl_bytes(area), area.size(), &offset, &out.publicArea);
  if (code != TSS2_RC_SUCCESS) return tpm_error(code, "a key's template is not accepted");
  out.size = static_cast<UINT16>(area.size());
  return out;
}

Result<TpmPublic> from_tss(const TPM2B_PUBLIC& object) {
  Bytes area(sizeof object);
  std::size_t size = 0;
  const TSS2_RC code = Tss2_MU_TPMT_PUBLIC_Marshal(
      &object.publicArea, openssl_bytes(std::span(area)), area.size(), &size);
  if (code != TSS2_RC_SUCCESS) return tpm_error(code, "the host's TPM shows an unusual key");
  return parse_tpmt_public(std::span(area).first(size));
}

Error tpm_error(TSS2_RC code, const char* what) {
  log_warning("host-tpm", {{"what", what}, {"reason", Tss2_RC_Decode(code)}});
  return Error{Errc::kIo, 0, what};
}

}  // namespace bulkhead::hostca
