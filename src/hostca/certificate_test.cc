// SPDX-License-Identifier: Apache-2.0
#include "hostca/certificate.h"

#include <gtest/gtest.h>

#include <ctime>

#include "attest/host_identity.h"
#include "attest/tpm_public.h"
#include "hostca/host_ca.h"
#include "hostca/host_for_test.h"
#include "hostca/templates.h"

namespace bulkhead::hostca {
namespace {

// Public areas as a partition's TPM shows them, of keys that are made here.
Bytes key_of(TpmPublic form) {
  const SigningKey key = SigningKey::generate().value();
  const Bytes info = key.public_info().value();
  const auto point = std::span(info).last(64);
  form.key = TpmEccKey{Curve::kP256, copy_of(point.first(32)), copy_of(point.last(32))};
  return serialize(form);
}

PartitionKeys partition_keys() {
  return {key_of(ecc_endorsement_template()), key_of(attestation_key_template())};
}

class HostCaTest : public ::testing::Test {
 protected:
  // A partition CA below the authority, or on its own.
  std::unique_ptr<HostCa> make(bool enrolled) {
    auto key = std::make_unique<SoftwareIssuer>(SigningKey::generate().value());
    std::vector<Bytes> chain;
    if (enrolled) {
      const Authority authority = authority_.authority();
      chain.push_back(issue_certificate({.role = CertificateRole::kPartitionCa,
                                         .subject = "host one",
                                         .public_info = key->public_info().value(),
                                         .host = HostIdentity{HostIdentity::Kind::kTpm, {}},
                                         .validity = valid_for_days(now_, 365)},
                                        authority.certificates[0], authority.key)
                          .value());
      chain.push_back(authority.certificates[0]);
    } else {
      chain.push_back(self_certify(*key, "host one", valid_for_days(now_, 365)).value());
    }
    ca_pem_ = to_pem(std::span(chain).first(1));
    return HostCa::create(std::move(key), chain).value();
  }
  Said openssl_verify(const std::string& root, const Bytes& leaf) {
    write_whole(dir_ / "ca.pem", ca_pem_);
    write_whole(dir_ / "leaf.pem", to_pem(std::span(&leaf, 1)));
    return shell("openssl verify -x509_strict -CAfile '" + root + "' -untrusted '" +
                 (dir_ / "ca.pem") + "' '" + (dir_ / "leaf.pem") + "'");
  }

  const std::int64_t now_ = ::time(nullptr);
  TestAuthority authority_;
  TempDir dir_;
  std::string ca_pem_;
};

TEST_F(HostCaTest, OpensslVerifiesItsChain) {
  const auto ca = make(true);
  const PartitionCertificates made = ca->certify(partition_keys(), now_).value();
  for (const Bytes& leaf : {made.attestation_key, made.endorsement_key}) {
    const Said said = openssl_verify(authority_.root_file(), leaf);
    EXPECT_TRUE(said.ok) << said.text;
    // The control: another root of the same name did not sign that.
    EXPECT_FALSE(openssl_verify(TestAuthority().root_file(), leaf).ok);
  }
}

TEST_F(HostCaTest, OpensslVerifiesAChainThatEndsAtTheHost) {
  const auto ca = make(false);
  EXPECT_EQ(ca->identity().kind, HostIdentity::Kind::kSoftware);
  const PartitionCertificates made = ca->certify(partition_keys(), now_).value();
  write_whole(dir_ / "own.pem", ca_pem_);
  const Said said = openssl_verify(dir_ / "own.pem", made.attestation_key);
  EXPECT_TRUE(said.ok) << said.text;
}

TEST_F(HostCaTest, CertificatesSayWhatTheyAreFor) {
  const auto ca = make(true);
  const PartitionCertificates made = ca->certify(partition_keys(), now_).value();
  const auto text = [&](const Bytes& der) {
    write_whole(dir_ / "one.pem", to_pem(std::span(&der, 1)));
    return shell("openssl x509 -noout -text -in '" + (dir_ / "one.pem") + "'").text;
  };
  const std::string ak = text(made.attestation_key);
  EXPECT_NE(ak.find("Digital Signature\n"), std::string::npos) << ak;
  EXPECT_NE(ak.find("2.23.133.8.3"), std::string::npos) << ak;
  EXPECT_NE(ak.find("CA:FALSE"), std::string::npos) << ak;
  const std::string ek = text(made.endorsement_key);
  EXPECT_NE(ek.find("Key Agreement\n"), std::string::npos) << ek;
  EXPECT_NE(ek.find("2.23.133.8.1"), std::string::npos) << ek;
  write_whole(dir_ / "ca.pem", ca_pem_);
  const std::string own = shell("openssl x509 -noout -text -in '" + (dir_ / "ca.pem") + "'").text;
  EXPECT_NE(own.find("CA:TRUE, pathlen:0"), std::string::npos) << own;
  EXPECT_NE(own.find(kHostIdentityOidText), std::string::npos) << own;
  EXPECT_NE(own.find("Certificate Sign\n"), std::string::npos) << own;
}

// A key that could sign anything, or that exists elsewhere, would make every quote worthless.
TEST_F(HostCaTest, RefusesKeysOfAnotherForm) {
  const auto ca = make(true);
  const PartitionKeys good = partition_keys();
  ASSERT_TRUE(ca->certify(good, now_));
  for (std::uint32_t attribute : {tpma_object::kRestricted, tpma_object::kFixedTpm,
                                  tpma_object::kSensitiveDataOrigin, tpma_object::kDecrypt}) {
    TpmPublic form = attestation_key_template();
    form.attributes ^= attribute;
    const auto made = ca->certify({good.endorsement_key, key_of(form)}, now_);
    ASSERT_FALSE(made) << attribute;
    EXPECT_EQ(made.error().code, Errc::kPermission);
  }
  EXPECT_FALSE(ca->certify({good.attestation_key, good.endorsement_key}, now_));
  EXPECT_FALSE(ca->certify({good.endorsement_key, good.endorsement_key}, now_));
  EXPECT_FALSE(ca->certify({{}, {}}, now_));
}

TEST_F(HostCaTest, IssuesNothingThatOutlivesItself) {
  const auto ca = make(true);
  const PartitionKeys keys = partition_keys();
  const auto until = [&](std::int64_t now) {
    return read_certificate(ca->certify(keys, now).value().attestation_key)
        .value()
        .validity.not_after;
  };
  EXPECT_EQ(until(now_), now_ + std::int64_t{HostCa::kDays} * 86400);
  EXPECT_EQ(until(now_ + 364 * 86400), now_ + 365 * 86400);
  EXPECT_EQ(ca->certify(keys, now_ + 366 * 86400).error().code, Errc::kPermission);
}

TEST_F(HostCaTest, NeedsACertificateOfItsOwnKey) {
  SoftwareIssuer one(SigningKey::generate().value());
  const Bytes certificate = self_certify(one, "one", valid_for_days(now_, 1)).value();
  auto other = std::make_unique<SoftwareIssuer>(SigningKey::generate().value());
  EXPECT_EQ(HostCa::create(std::move(other), {certificate}).error().code, Errc::kPermission);
}

TEST(Certificate, TellsWhatItSays) {
  SoftwareIssuer key(SigningKey::generate().value());
  const Validity validity = valid_for_days(kTestNow, 30);
  const Bytes der = self_certify(key, "a host", validity).value();
  const CertificateFacts facts = read_certificate(der).value();
  EXPECT_EQ(facts.subject, "CN=a host");
  EXPECT_EQ(facts.issuer, facts.subject);
  EXPECT_EQ(facts.public_info, key.public_info().value());
  EXPECT_EQ(facts.validity, validity);
  EXPECT_TRUE(facts.is_ca);
  ASSERT_TRUE(facts.host);
  EXPECT_EQ(facts.host->kind, HostIdentity::Kind::kSoftware);
  EXPECT_EQ(facts.host->fingerprint, Sha256::of(facts.public_info).value());
  EXPECT_TRUE(is_issued_by(der, der));
}

TEST(Certificate, EveryOneHasAnotherNumber) {
  SoftwareIssuer key(SigningKey::generate().value());
  const Validity validity = valid_for_days(kTestNow, 30);
  EXPECT_NE(self_certify(key, "a", validity).value(), self_certify(key, "a", validity).value());
}

TEST(Certificate, RefusesImpossibleNames) {
  SoftwareIssuer key(SigningKey::generate().value());
  for (const std::string& name : {std::string(), std::string(65, 'x'), std::string("a\nb")}) {
    EXPECT_EQ(self_certify(key, name, {}).error().code, Errc::kInvalidArgument);
  }
}

TEST(Certificate, NothingElseIsOne) {
  SoftwareIssuer key(SigningKey::generate().value());
  Bytes der = self_certify(key, "a host", valid_for_days(kTestNow, 1)).value();
  for (std::size_t size = 0; size < der.size(); ++size) {
    EXPECT_FALSE(read_certificate(std::span(der).first(size))) << size;
  }
  der.push_back(std::byte{0});
  EXPECT_FALSE(read_certificate(der));
}

TEST(HostIdentity, IsInItsForm) {
  HostIdentity identity{HostIdentity::Kind::kTpm, {}};
  identity.fingerprint[31] = std::byte{9};
  Bytes der = serialize(identity);
  EXPECT_EQ(to_hex(der).substr(0, 18), "30280201010a010004");
  EXPECT_EQ(parse_host_identity(der).value(), identity);
  for (std::size_t i = 0; i < 10; ++i) {
    Bytes changed = der;
    changed[i] ^= std::byte{0x40};
    EXPECT_FALSE(parse_host_identity(changed)) << i;
  }
  der.push_back(std::byte{0});
  EXPECT_FALSE(parse_host_identity(der));
}

TEST(Pem, IsReadStrictly) {
  SoftwareIssuer key(SigningKey::generate().value());
  const std::vector<Bytes> two{self_certify(key, "a", valid_for_days(kTestNow, 1)).value(),
                               self_certify(key, "b", valid_for_days(kTestNow, 1)).value()};
  const std::string text = to_pem(two);
  EXPECT_EQ(read_pem(text).value(), two);
  EXPECT_EQ(read_pem("\n" + text + "\n").value(), two);
  EXPECT_FALSE(read_pem(""));
  EXPECT_FALSE(read_pem("note\n" + text));
  EXPECT_FALSE(read_pem(text + "note"));
  EXPECT_FALSE(read_pem(text.substr(0, text.size() - 10)));
}

}  // namespace
}  // namespace bulkhead::hostca
