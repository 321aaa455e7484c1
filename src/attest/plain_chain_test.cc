// SPDX-License-Identifier: Apache-2.0
// The short way accepts what is usual, and nothing that the long way does not.
#include "attest/plain_chain.h"

#include <gtest/gtest.h>

#include <functional>

#include "attest/certificate_judge.h"
#include "attest/evidence_case_for_test.h"

namespace bulkhead {
namespace {

// Goes both ways, and expects that the long one accepts, with the same facts, what the short one
// does. Whether the short one accepted.
bool is_short(const EvidenceCase& shown) {
  const auto facts = shown.trust.facts_of(shown.certificates);
  if (!facts) return false;
  EXPECT_FALSE(shown.trust.known_facts_of(shown.certificates));  // or nothing would be compared
  Report report{CheckSwitches()};
  const TpmPublic key = shown.signer->object();
  judge_certificates(report, {shown.certificates, key}, shown.trust, shown.now);
  EXPECT_TRUE(report.findings()[0].outcome == CheckOutcome::kPassed)
      << to_line(report.findings()[0]);
  EXPECT_EQ(facts, shown.trust.known_facts_of(shown.certificates));
  return true;
}

TEST(PlainChain, IsTheUsualOne) {
  EvidenceCase shown;
  EXPECT_TRUE(is_short(shown));
  shown.certificates.push_back(shown.root->der());
  EXPECT_TRUE(is_short(shown));
}

TEST(PlainChain, MayHaveOtherForms) {
  for (const char* root_length : {"critical,CA:TRUE", "critical,CA:TRUE,pathlen:2"}) {
    EvidenceCase shown;
    shown.root.emplace(CertificateForm{.subject = "R", .basic_constraints = root_length});
    ASSERT_TRUE(shown.trust.add(Certificate::parse(shown.root->der()).value()));
    CertificateForm form{.subject = "Fleet", .key_usage = "critical,keyCertSign,cRLSign"};
    const AuthorityForTest middle(form, *shown.root);
    form = partition_ca_form(shown.host);
    form.hash = EVP_sha512();
    form.not_after = parse_utc_time("2061-01-01T00:00:00Z").value();
    shown.partition_ca.emplace(form, middle);
    shown.certify(shown.signer->object());
    shown.certificates.push_back(middle.der());
    EXPECT_TRUE(is_short(shown)) << root_length;
  }
}

TEST(PlainChain, MayEndAtTheHostItself) {
  EvidenceCase shown;
  shown.partition_ca = AuthorityForTest::software_host();
  ASSERT_TRUE(shown.trust.add(Certificate::parse(shown.partition_ca->der()).value()));
  shown.certify(shown.signer->object());
  EXPECT_TRUE(is_short(shown));
  // Not with another's identity.
  const HostIdentity other{.kind = HostIdentity::Kind::kSoftware, .fingerprint = {}};
  shown.partition_ca.emplace(partition_ca_form(other), *shown.root);
  shown.certify(shown.signer->object());
  EXPECT_FALSE(is_short(shown));
}

TEST(PlainChain, MayHaveAnyKeyOfATpmBelow) {
  for (unsigned bits : {256U, 384U}) {
    const FakeKey key({TpmAlg::kEcdsa, bits == 256 ? TpmAlg::kSha256 : TpmAlg::kSha384}, bits);
    EvidenceCase shown;
    shown.signer = &key;
    shown.certify(key.object());
    EXPECT_TRUE(is_short(shown));
  }
  const FakeKey rsa({TpmAlg::kRsassa, TpmAlg::kSha256}, 2048);
  EvidenceCase shown;
  shown.signer = &rsa;
  shown.certify(rsa.object());
  EXPECT_TRUE(is_short(shown));
}

// One thing at a time that may be otherwise in one certificate of three.
struct Change {
  const char* what;
  std::function<void(CertificateForm&)> make;
};
const Change kChanges[] = {
    {"no basicConstraints", [](auto& form) { form.basic_constraints.clear(); }},
    {"CA", [](auto& form) { form.basic_constraints = "critical,CA:TRUE"; }},
    {"no CA", [](auto& form) { form.basic_constraints = "critical,CA:FALSE"; }},
    {"path length 0", [](auto& form) { form.basic_constraints = "critical,CA:TRUE,pathlen:0"; }},
    {"path length 1", [](auto& form) { form.basic_constraints = "critical,CA:TRUE,pathlen:1"; }},
    {"not critical", [](auto& form) { form.basic_constraints = "CA:TRUE,pathlen:0"; }},
    {"no keyUsage", [](auto& form) { form.key_usage.clear(); }},
    {"keyUsage not critical", [](auto& form) { form.key_usage = "keyCertSign"; }},
    {"signs data", [](auto& form) { form.key_usage = "critical,digitalSignature"; }},
    {"signs both", [](auto& form) { form.key_usage = "critical,digitalSignature,keyCertSign"; }},
    {"signs CRLs", [](auto& form) { form.key_usage = "critical,cRLSign"; }},
    {"nine bits", [](auto& form) { form.key_usage = "critical,keyCertSign,decipherOnly"; }},
    {"attests", [](auto& form) { form.extended_key_usage = "2.23.133.8.3"; }},
    {"attests critically", [](auto& form) { form.extended_key_usage = "critical,2.23.133.8.3"; }},
    {"serves", [](auto& form) { form.extended_key_usage = "serverAuth"; }},
    {"another host", [](auto& form) { form.host_identity = serialize(host_with_tpm(9)); }},
    {"no host", [](auto& form) { form.host_identity.reset(); }},
    {"a bad host", [](auto& form) { form.host_identity = filled(42, 1); }},
    {"a host twice",
     [](auto& form) {
       form.host_identity = serialize(host_with_tpm(9));
       form.host_identity_count = 2;
     }},
    {"a critical host",
     [](auto& form) {
       form.host_identity = serialize(host_with_tpm(9));
       form.host_identity_critical = true;
     }},
    {"serial 0", [](auto& form) { form.serial = 0; }},
    {"serial -1", [](auto& form) { form.serial = -1; }},
    {"serial 128", [](auto& form) { form.serial = 128; }},
    {"no subject", [](auto& form) { form.subject.clear(); }},
    {"the root's name", [](auto& form) { form.subject = root_form().subject; }},
    {"the host's name", [](auto& form) { form.subject = partition_ca_form({}).subject; }},
    {"SHA-1", [](auto& form) { form.hash = EVP_sha1(); }},
    {"SHA-384", [](auto& form) { form.hash = EVP_sha384(); }},
    {"SHA-224", [](auto& form) { form.hash = EVP_sha224(); }},
    {"expired", [](auto& form) { form.not_after = form.not_before; }},
};

EvidenceCase changed(unsigned place, const Change& change) {
  EvidenceCase shown;
  CertificateForm forms[] = {attestation_key_form(), partition_ca_form(shown.host), root_form()};
  change.make(forms[place]);
  if (place == 2) {
    shown.root.emplace(forms[2]);
    auto root = Certificate::parse(shown.root->der());
    if (root) static_cast<void>(shown.trust.add(std::move(*root)));
  }
  shown.partition_ca.emplace(forms[1], *shown.root);
  shown.certify(shown.signer->object(), forms[0]);
  return shown;
}

TEST(PlainChain, IsNeverMoreThanTheLongWayAccepts) {
  unsigned accepted = 0;
  for (const Change& change : kChanges) {
    for (unsigned place = 0; place < 3; ++place) {
      SCOPED_TRACE(std::string(change.what) + " in certificate " + std::to_string(place));
      if (is_short(changed(place, change))) ++accepted;
    }
  }
  EXPECT_GE(accepted, 15U);
  EXPECT_LE(accepted, 40U);
}

// OpenSSL tries roots before what is shown: where that could matter, the short way is not gone.
TEST(PlainChain, LeavesChoicesToTheLongWay) {
  EvidenceCase shown;
  ASSERT_TRUE(is_short(shown));
  // The partition CA's own name and key as a root: it is as good as the chain that is shown.
  EvidenceCase other;
  X509* ca = nullptr;
  const Bytes der = other.partition_ca->der();
  const unsigned char* position = openssl_bytes(std::span<const std::byte>(der));
  ca = d2i_X509(nullptr, &position, openssl_length(der));
  ASSERT_EQ(X509_set_issuer_name(ca, X509_get_subject_name(ca)), 1);
  X509_EXTENSION_free(
      X509_delete_ext(ca, X509_get_ext_by_NID(ca, NID_authority_key_identifier, -1)));
  ASSERT_GT(X509_sign(ca, other.partition_ca->key(), EVP_sha256()), 0);
  auto root = Certificate::parse(AuthorityForTest::der_of(ca));
  X509_free(ca);
  ASSERT_TRUE(root);
  ASSERT_TRUE(other.trust.add(std::move(*root)));
  EXPECT_FALSE(is_short(other));
}

TEST(PlainChain, NeedsPlainRoots) {
  EvidenceCase shown;
  const AuthorityForTest other({.subject = "R\xc3\xb6\xc3\xb6t"});
  ASSERT_TRUE(shown.trust.add(Certificate::parse(other.der()).value()));
  EXPECT_FALSE(is_short(shown));
}

// Of every certificate that differs in a bit.
TEST(PlainCertificate, SeesWhatTheLongWaySees) {
  const EvidenceCase shown;
  unsigned read = 0;
  for (Bytes der : shown.certificates) {
    for (std::size_t bit = 0; bit < der.size() * 8; ++bit) {
      der[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
      if (const auto plain = PlainCertificate::parse(der); plain && plain->public_key()) {
        ++read;
        const auto certificate = Certificate::parse(der);
        ASSERT_TRUE(certificate) << bit;
        EXPECT_EQ(plain->validity, certificate->validity()) << bit;
        for (CertificateRole role : {CertificateRole::kAttestationKey,
                                     CertificateRole::kPartitionCa, CertificateRole::kAuthority}) {
          EXPECT_EQ(plain->extensions.are_good_as(role), certificate->fault_as(role) == nullptr);
        }
      }
      der[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    }
  }
  EXPECT_GT(read, 1000U);  // bits of names, digests and signatures
}

TEST(PlainCertificate, IsReadToTheLastByte) {
  const EvidenceCase shown;
  for (Bytes der : shown.certificates) {
    ASSERT_TRUE(PlainCertificate::parse(der));
    for (std::size_t size = 0; size < der.size(); ++size) {
      EXPECT_FALSE(PlainCertificate::parse(std::span(der).first(size))) << size;
    }
    der.push_back(std::byte{0});
    EXPECT_FALSE(PlainCertificate::parse(der));
  }
}

}  // namespace
}  // namespace bulkhead
