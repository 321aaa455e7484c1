// SPDX-License-Identifier: Apache-2.0
#include "hostca/tpm/open_host_ca.h"

#include "hostca/enrolment.h"

namespace bulkhead::hostca {
namespace {

constexpr std::size_t kSecretBytes = 32;

Result<SecretBytes> secret_of(const StateDirectory& state) {
  if (!state.has(StateDirectory::kTpmSecret)) {
    const SecretBytes fresh = TRY(SecretBytes::random(kSecretBytes));
    TRY(state.write(StateDirectory::kTpmSecret, fresh.bytes()));
  }
  SecretBytes secret = TRY(state.read_secret(StateDirectory::kTpmSecret));
  if (secret.size() == kSecretBytes) return secret;
  return Error{Errc::kMalformed, 0, "tpm.secret is damaged: remove it, and enrol the host again"};
}

Result<std::unique_ptr<IssuerKey>> open_software_key(const StateDirectory& state) {
  const SecretBytes pem = TRY(state.read_secret(StateDirectory::kSoftwareKey));
  return std::unique_ptr<IssuerKey>(new SoftwareIssuer(TRY(SigningKey::from_pem(pem.bytes()))));
}

Result<std::unique_ptr<IssuerKey>> open_tpm_key(const StateDirectory& state,
                                                const std::string& where) {
  const SecretBytes secret = TRY(secret_of(state));
  std::unique_ptr<HostTpm> tpm = TRY(HostTpm::open(where));
  const PublicKey key = TRY(public_key(TRY(tpm->make_ca_key(secret.bytes()))));
  return std::unique_ptr<IssuerKey>(new TpmIssuer(std::move(tpm), TRY(key.info())));
}

}  // namespace

Result<EnrolledTpm> open_enrolled_tpm(const StateDirectory& state, const std::string& where) {
  const SecretBytes secret = TRY(secret_of(state));
  EnrolledTpm opened;
  opened.tpm = TRY(HostTpm::open(where));
  opened.endorsement = TRY(opened.tpm->endorsement());
  opened.ca_key = TRY(opened.tpm->make_ca_key(secret.bytes()));
  return opened;
}

Result<std::unique_ptr<HostCa>> open_host_ca(const StateDirectory& state,
                                             const std::string& where) {
  if (!state.has(StateDirectory::kCertificates)) {
    return Error{Errc::kNotFound, 0, "the host is not enrolled: see 'bulkhead host enrol --help'"};
  }
  auto certificates = TRY(read_pem(TRY(state.read_text(StateDirectory::kCertificates))));
  std::unique_ptr<IssuerKey> key =
      TRY(state.has(StateDirectory::kSoftwareKey) ? open_software_key(state)
                                                  : open_tpm_key(state, where));
  return HostCa::create(std::move(key), std::move(certificates));
}

}  // namespace bulkhead::hostca
