// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "base/host_counter.h"
#include "hostca/certificate.h"
#include "hostca/endorsement.h"
#include "hostca/make_credential.h"

struct ESYS_CONTEXT;  // tpm2-tss
struct TSS2_TCTI_OPAQUE_CONTEXT_BLOB;

namespace bulkhead::hostca {

// The host's TPM 2.0. One thread at a time. Keys are made anew by each object, from the TPM's
// seeds; they are gone from the TPM with it.
class HostTpm {
 public:
  // Where tpm2-tss finds it: empty is its own choice of /dev/tpmrm0, /dev/tpm0 and others.
  static Result<std::unique_ptr<HostTpm>> open(const std::string& where);
  ~HostTpm();

  // The endorsement key that there is a certificate of, RSA first, and what certificates there are.
  Result<Endorsement> endorsement();
  // The key of the partition CA that belongs to this secret.
  Result<TpmPublic> make_ca_key(std::span<const std::byte> secret);
  // ECDSA-Sig-Value over SHA-256 of the message, by that key.
  Result<Bytes> sign(std::span<const std::byte> message);
  // TPM2_ActivateCredential: the secret, if it was meant for that key and the endorsement key.
  Result<Bytes> activate(const TpmCredential& credential);

  // Counters last until they are removed, by the TPM's owner, and do not go back: not even one that
  // is made anew. The secret is the password, at most 32 bytes.
  Result<CounterValue> make_counter(std::span<const std::byte> secret);
  Result<CounterValue> read_counter(std::uint32_t index, std::span<const std::byte> secret);
  Result<CounterValue> step_counter(std::uint32_t index, std::span<const std::byte> secret);
  Result<std::vector<std::uint32_t>> counters();
  Result<void> remove_counter(std::uint32_t index);

 private:
  class Counter;
  class Object;
  class PolicySession;

  HostTpm(TSS2_TCTI_OPAQUE_CONTEXT_BLOB* tcti, ESYS_CONTEXT* esys);
  Result<std::unique_ptr<Object>> make_primary(std::uint32_t hierarchy, const TpmPublic& form);
  bool has_nv(std::uint32_t index);
  Result<Bytes> read_nv(std::uint32_t index);
  Result<std::unique_ptr<Counter>> open_counter(std::uint32_t index,
                                                std::span<const std::byte> secret);

  TSS2_TCTI_OPAQUE_CONTEXT_BLOB* tcti_;
  ESYS_CONTEXT* esys_;
  std::unique_ptr<Object> endorsement_key_;
  std::unique_ptr<Object> ca_key_;
};

// The partition CA's key in the host's TPM.
class TpmIssuer final : public IssuerKey {
 public:
  TpmIssuer(std::unique_ptr<HostTpm> tpm, Bytes public_info)
      : tpm_(std::move(tpm)), public_info_(std::move(public_info)) {}

  Result<Bytes> public_info() override { return public_info_; }
  Result<Bytes> sign(std::span<const std::byte> message) override { return tpm_->sign(message); }

 private:
  std::unique_ptr<HostTpm> tpm_;
  Bytes public_info_;
};

}  // namespace bulkhead::hostca
