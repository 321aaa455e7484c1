// SPDX-License-Identifier: Apache-2.0
#include "attest/certificate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "attest/evidence_case_for_test.h"

namespace bulkhead {
namespace {

std::string refusal_of(const Bytes& der) {
  const auto certificate = Certificate::parse(der);
  return certificate ? "" : certificate.error().what;
}

const char* fault_of(const Bytes& der, CertificateRole role) {
  const auto certificate = Certificate::parse(der);
  if (!certificate) return certificate.error().what;
  const char* fault = certificate->fault_as(role);
  return fault == nullptr ? "" : fault;
}

const AuthorityForTest& root() {
  static const AuthorityForTest made(root_form());
  return made;
}

Bytes leaf_with(const CertificateForm& form) {
  return root().issue_for(form, default_fake_key().object());
}

TEST(Certificate, ReadsWhatTheProfileSays) {
  const HostIdentity host = host_with_tpm(7);
  const AuthorityForTest ca(partition_ca_form(host), root());
  const Certificate certificate = Certificate::parse(ca.der()).value();
  EXPECT_EQ(certificate.host_identity().value(), host);
  EXPECT_EQ(to_string(certificate.validity().not_before), "2026-01-01T00:00:00Z");
  EXPECT_EQ(to_string(certificate.validity().not_after), "2027-01-01T00:00:00Z");
  EXPECT_FALSE(certificate.is_self_issued());
  EXPECT_TRUE(Certificate::parse(root().der()).value().is_self_issued());
  EXPECT_EQ(fault_of(ca.der(), CertificateRole::kPartitionCa), std::string());
  EXPECT_EQ(fault_of(root().der(), CertificateRole::kAuthority), std::string());
  EXPECT_EQ(fault_of(leaf_with(attestation_key_form()), CertificateRole::kAttestationKey),
            std::string());
}

// Whoever compares the bytes compares the keys: of each kind that a TPM has.
TEST(Certificate, HasTheKeyOfTheTpm) {
  const FakeKey keys[] = {FakeKey({TpmAlg::kEcdsa, TpmAlg::kSha256}, 256),
                          FakeKey({TpmAlg::kEcdsa, TpmAlg::kSha384}, 384),
                          FakeKey({TpmAlg::kRsassa, TpmAlg::kSha256}, 2048),
                          FakeKey({TpmAlg::kRsapss, TpmAlg::kSha256}, 3072)};
  for (const FakeKey& key : keys) {
    const Bytes der = root().issue_for(attestation_key_form(), key.object());
    const Certificate certificate = Certificate::parse(der).value();
    EXPECT_EQ(certificate.subject_public_key_info(), subject_public_key_info(key.object()));
    EXPECT_NE(certificate.subject_public_key_info(),
              subject_public_key_info(default_fake_key().object()));
  }
}

TEST(Certificate, RefusesOtherForms) {
  CertificateForm form = attestation_key_form();
  form.version = 0;
  EXPECT_EQ(refusal_of(leaf_with(form)), "not of X.509 version 3");
  form = attestation_key_form();
  form.subject.clear();
  EXPECT_EQ(refusal_of(leaf_with(form)), "an empty subject");
  form = attestation_key_form();
  form.hash = EVP_sha1();
  EXPECT_EQ(refusal_of(leaf_with(form)), "a signature other than ECDSA or RSA with SHA-2");
  form = partition_ca_form(host_with_tpm(1));
  form.host_identity_count = 2;
  EXPECT_EQ(refusal_of(leaf_with(form)), "an extension comes twice");
  form.host_identity_count = 1;
  form.host_identity_critical = true;
  EXPECT_EQ(refusal_of(leaf_with(form)), "an unknown extension is critical");
  for (long serial : {0L, -5L}) {
    form = attestation_key_form();
    form.serial = serial;
    EXPECT_EQ(refusal_of(leaf_with(form)), "a serial number that is none");
  }
  EXPECT_EQ(refusal_of(Bytes(9000)), "a certificate of more than 8 KiB");
}

TEST(Certificate, RefusesWhatIsNone) {
  const Bytes good = leaf_with(attestation_key_form());
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_NE(refusal_of(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size))),
              "");
  }
  Bytes longer = good;
  longer.push_back(std::byte{0});
  EXPECT_EQ(refusal_of(longer), "bytes behind a certificate");
}

TEST(Certificate, RolesOfAttestationKeys) {
  constexpr auto kRole = CertificateRole::kAttestationKey;
  CertificateForm form = attestation_key_form();
  form.basic_constraints = "critical,CA:TRUE";
  form.key_usage = "critical,digitalSignature,keyCertSign";
  EXPECT_STREQ(fault_of(leaf_with(form), kRole), "it is a CA");
  form = attestation_key_form();
  form.basic_constraints = "CA:FALSE";
  EXPECT_STREQ(fault_of(leaf_with(form), kRole), "it lacks critical basicConstraints");
  form = attestation_key_form();
  form.key_usage.clear();
  EXPECT_STREQ(fault_of(leaf_with(form), kRole), "it lacks a critical keyUsage");
  form.key_usage = "critical,digitalSignature,keyAgreement";
  EXPECT_STREQ(fault_of(leaf_with(form), kRole), "its keyUsage is not digitalSignature alone");
  const char* usage = "its extendedKeyUsage is not tcg-kp-AIKCertificate alone";
  for (const char* value : {"", "2.23.133.8.1", "2.23.133.8.3,clientAuth"}) {
    form = attestation_key_form();
    form.extended_key_usage = value;
    EXPECT_STREQ(fault_of(leaf_with(form), kRole), usage) << value;
  }
  form = attestation_key_form();
  form.host_identity = serialize(host_with_tpm(1));
  EXPECT_STREQ(fault_of(leaf_with(form), kRole), "it has a host's identity");
}

TEST(Certificate, RolesOfCas) {
  const auto fault = [](const CertificateForm& form, CertificateRole role) {
    return std::string(fault_of(AuthorityForTest(form, root()).der(), role));
  };
  CertificateForm form = partition_ca_form(host_with_tpm(1));
  form.basic_constraints = "critical,CA:FALSE";
  form.key_usage = "critical,digitalSignature";
  EXPECT_EQ(fault(form, CertificateRole::kPartitionCa), "it is no CA");
  form = partition_ca_form(host_with_tpm(1));
  form.key_usage = "critical,cRLSign";
  EXPECT_EQ(fault(form, CertificateRole::kPartitionCa), "it lacks keyCertSign");
  form.key_usage = "critical,keyCertSign,digitalSignature";
  EXPECT_EQ(fault(form, CertificateRole::kPartitionCa), "its key is not for certificates alone");
  form = partition_ca_form(host_with_tpm(1));
  for (const char* constraints : {"critical,CA:TRUE", "critical,CA:TRUE,pathlen:1"}) {
    form.basic_constraints = constraints;
    EXPECT_EQ(fault(form, CertificateRole::kPartitionCa), "its path length is not 0");
  }
  form = partition_ca_form(host_with_tpm(1));
  EXPECT_EQ(fault(form, CertificateRole::kAuthority), "it has a host's identity");
  form.extended_key_usage = "2.23.133.8.3";
  EXPECT_EQ(fault(form, CertificateRole::kPartitionCa), "it has an extendedKeyUsage");
}

TEST(HostIdentity, HasOneForm) {
  const Bytes good = serialize(host_with_tpm(9));
  ASSERT_EQ(good.size(), 42U);
  EXPECT_EQ(parse_host_identity(good).value(), host_with_tpm(9));
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(parse_host_identity(std::span(good).first(size)));
  }
  Bytes longer = good;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(parse_host_identity(longer));
  // Every byte but the fingerprint's and the kind's last bit is fixed.
  for (std::size_t i = 0; i < 10; ++i) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      if (i == 7 && bit == 0) continue;
      Bytes changed = good;
      changed[i] ^= static_cast<std::byte>(1U << bit);
      EXPECT_FALSE(parse_host_identity(changed)) << i << "." << bit;
    }
  }
}

// Stock OpenSSL, in its strictest mode, knows what kind of chain this is.
TEST(Certificate, OpensslVerifiesTheChain) {
  if (std::system("openssl version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no openssl program";
  char name[] = "/tmp/certificate-test-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  const std::filesystem::path directory = name;
  const EvidenceCase good;
  const auto write = [&](const char* file, const std::string& text) {
    std::ofstream(directory / file) << text;
  };
  const unsigned char* position = openssl_bytes(std::span<const std::byte>(good.certificates[0]));
  const AuthorityForTest::Handle leaf(
      d2i_X509(nullptr, &position, openssl_length(good.certificates[0])));
  write("root.pem", good.root->pem());
  write("ca.pem", good.partition_ca->pem());
  write("leaf.pem", AuthorityForTest::pem_of(leaf.get()));
  const std::string verify = "cd " + directory.string() +
                             " && openssl verify -x509_strict -attime 1795356300 -CAfile root.pem ";
  EXPECT_EQ(std::system((verify + "-untrusted ca.pem leaf.pem >out 2>&1").c_str()), 0);
  EXPECT_NE(std::system((verify + "leaf.pem >/dev/null 2>&1").c_str()), 0);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace bulkhead
