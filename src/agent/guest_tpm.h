// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "attest/tpm_public.h"
#include "devices/tpm.h"
#include "measure/pcr_values.h"

namespace bulkhead::agent {

// What a quote consists of: TPMS_ATTEST and TPMT_SIGNATURE, as the TPM made them.
struct Quote {
  Bytes attest;
  Bytes signature;
};

// What a guest asks its TPM to prove what it is: commands of TPM 2.0 Part 3, at locality 0, with
// empty passwords. kNotFound: the TPM has no such object; kPermission: it has another password.
class GuestTpm {
 public:
  explicit GuestTpm(Tpm& tpm) : tpm_(tpm) {}

  struct Key {
    std::uint32_t handle = 0;
    TpmPublic object;
  };
  // TPM2_CreatePrimary in the endorsement hierarchy: the key follows from the form and the TPM's
  // seed. It stays in the TPM until flush().
  Result<Key> create_primary(const TpmPublic& form);
  void flush(const Key& key);

  Result<Quote> quote(const Key& key, std::span<const std::byte> qualifying_data,
                      const PcrSelections& pcrs);
  // All that are selected; kNotFound if the TPM lacks one.
  Result<PcrValues> read_pcrs(const PcrSelections& pcrs);
  // The whole content of an NV index.
  Result<Bytes> read_index(std::uint32_t index);

 private:
  Result<Bytes> run(std::uint32_t code, std::span<const std::byte> parameters);
  // The first handle is the one that an empty password authorizes. What is behind parameterSize,
  // with the handle of a new object before it.
  Result<Bytes> run_authorized(std::uint32_t code, std::span<const std::byte> handles,
                               std::span<const std::byte> parameters);
  Result<Bytes> execute(std::uint16_t tag, std::uint32_t code, std::span<const std::byte> rest);
  Result<std::uint16_t> size_of_index(std::uint32_t index);

  Tpm& tpm_;
};

}  // namespace bulkhead::agent
