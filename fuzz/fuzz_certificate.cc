// SPDX-License-Identifier: Apache-2.0
// Certificates, and files of roots. The first byte chooses: a certificate, a file in PEM form, a
// host's identity, or the report about a chain of two, cut by a size of 16 bits.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "attest/certificate_judge.h"
#include "base/check.h"

namespace bulkhead {
namespace {

void compare(const PlainCertificate& plain, const Certificate& certificate) {
  for (CertificateRole role : {CertificateRole::kAttestationKey, CertificateRole::kPartitionCa,
                               CertificateRole::kAuthority}) {
    CHECK(!plain.extensions.are_good_as(role) || certificate.fault_as(role) == nullptr);
  }
  CHECK(plain.validity == certificate.validity());
  CHECK(std::ranges::equal(plain.key_info, certificate.subject_public_key_info()));
  CHECK(plain.extensions.host_identity.empty() ==
        (!certificate.host_identity() &&
         certificate.host_identity().error().code == Errc::kNotFound));
}

// Whatever the short way reads, the long way accepts, unless its key, at which the short way looks
// later, is none.
void fuzz_plain_certificate(std::span<const std::byte> der,
                            const Result<Certificate>& certificate) {
  const auto plain = PlainCertificate::parse(der);
  if (!plain) return;
  const bool has_key = plain->public_key().has_value();
  CHECK(certificate || !has_key);
  if (certificate) compare(*plain, *certificate);
}

void fuzz_certificate(std::span<const std::byte> der) {
  const auto certificate = Certificate::parse(der);
  fuzz_plain_certificate(der, certificate);
  if (!certificate) return;
  for (CertificateRole role : {CertificateRole::kAttestationKey, CertificateRole::kPartitionCa,
                               CertificateRole::kAuthority}) {
    static_cast<void>(certificate->fault_as(role));
  }
  CHECK(!certificate->subject_public_key_info().empty());
  static_cast<void>(certificate->host_identity());
  CHECK(!to_string(certificate->validity().not_after).empty());
}

void fuzz_roots(std::span<const std::byte> text) {
  TrustStore store = TrustStore::create().value();
  const auto* letters = static_cast<const char*>(static_cast<const void*>(text.data()));
  const auto added = store.add_pem(std::string_view(letters, text.size()));
  CHECK(!added || store.size() > 0);
}

void fuzz_host(std::span<const std::byte> der) {
  const auto host = parse_host_identity(der);
  if (host) CHECK(std::ranges::equal(serialize(*host), der));
}

void fuzz_chain(ByteReader input) {
  const auto size = input.read<std::uint16_t>();
  if (!size) return;
  const auto first = input.take(*size);
  if (!first) return;
  const Bytes chain[] = {copy_of(*first), copy_of(input.take(input.remaining()).value())};
  TpmPublic key;
  key.key = TpmEccKey{};
  static const TrustStore nobody = TrustStore::create().value();
  Report report{CheckSwitches()};
  judge_certificates(report, {chain, key}, nobody, UtcTime());
  CHECK(!report.accepted() && report.findings().size() == 4);
  for (const Finding& finding : report.findings()) CHECK(!to_line(finding).empty());
}

}  // namespace
}  // namespace bulkhead

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bulkhead;
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data + 1, size - 1));
  switch (data[0] % 4) {
    case 0:
      fuzz_certificate(bytes);
      break;
    case 1:
      fuzz_roots(bytes);
      break;
    case 2:
      fuzz_host(bytes);
      break;
    default:
      fuzz_chain(ByteReader(bytes));
      break;
  }
  return 0;
}
