// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>

#include "base/result.h"
#include "crypto/hash.h"
#include "devices/tpm.h"
#include "measure/pcr_values.h"
#include "measure/tpm_wire.h"

namespace bulkhead::vtpm {

// What a platform's firmware says to a TPM before it lets anybody else: the monitor's part.
// Commands of TPM 2.0 Part 3, at locality 0. A TPM that refuses one is an error.
class Platform {
 public:
  explicit Platform(Tpm& tpm) : tpm_(tpm) {}

  // TPM2_Startup(CLEAR).
  Result<void> startup();
  // What is extended when something is: TPM2_GetCapability(TPM_CAP_PCRS), without empty banks.
  Result<PcrSelections> banks();
  // TPM2_PCR_Allocate: these banks and no others, from the next time on that the TPM is powered on.
  Result<void> choose_banks(std::span<const HashAlgorithm> banks);
  // TPM2_PCR_Extend of one PCR, in all banks of the digests.
  Result<void> extend(Pcr pcr, const DigestSet& digests);
  // TPM2_CreatePrimary in the endorsement hierarchy, from a TPMT_PUBLIC: the key follows from it
  // and from the TPM's seed, and does not stay in the TPM. Returns its TPMT_PUBLIC.
  Result<Bytes> show_primary(std::span<const std::byte> form);
  // An NV index with these bytes, at most kMaxIndexBytes, in place of what was there: everybody may
  // read it, and only who has the platform's authority write or delete it.
  static constexpr std::size_t kMaxIndexBytes = 2048;
  Result<void> write_index(std::uint32_t index, std::span<const std::byte> bytes);
  // Nothing is there afterwards, whoever defined it.
  Result<void> remove_index(std::uint32_t index);
  // TPM2_HierarchyControl: nobody has the platform's authority until the next Startup. It could
  // change the banks, and clear the TPM.
  Result<void> give_up_authority();

 private:
  Result<Bytes> run(std::uint32_t code, std::span<const std::byte> parameters);
  // The first handle is the one that an empty password authorizes.
  Result<Bytes> run_authorized(std::uint32_t code, std::initializer_list<std::uint32_t> handles,
                               std::span<const std::byte> parameters);
  Result<bool> has_handle(std::uint32_t handle);
  Result<Bytes> execute(std::uint16_t tag, std::uint32_t code, std::span<const std::byte> rest);

  Tpm& tpm_;
};

}  // namespace bulkhead::vtpm
