// SPDX-License-Identifier: Apache-2.0
// A host's TPM, its maker, and who enrols it: swtpm and its tools.
#include "hostca/enrolment.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <ctime>

#include "hostca/host_for_test.h"
#include "hostca/templates.h"
#include "hostca/tpm/open_host_ca.h"

namespace bulkhead::hostca {
namespace {

class Enrolment : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!TpmMaker::is_installed()) GTEST_SKIP() << "no swtpm_setup here (package swtpm-tools)";
    maker_ = std::make_unique<TpmMaker>();
    tpm_ = std::make_unique<RunningTpm>(*maker_);
    state_ = std::make_unique<StateDirectory>(StateDirectory::create(dir_ / "host").value());
  }
  HostRequest request() {
    const EnrolledTpm host = open_enrolled_tpm(*state_, tpm_->where()).value();
    return {.name = "host-one", .endorsement = host.endorsement, .ca_key = host.ca_key};
  }
  HostGrant grant(const HostRequest& request) {
    return grant_certificate(request, authority_.authority(),
                             {.name = "host-one", .validity = valid_for_days(now_, 365)})
        .value();
  }
  // What `bulkhead host enrol --grant` does with this TPM.
  Result<std::vector<Bytes>> open(const HostGrant& grant) {
    const EnrolledTpm host = TRY(open_enrolled_tpm(*state_, tpm_->where()));
    return open_grant(grant, TRY(host.tpm->activate(grant.credential)));
  }

  void install(const std::vector<Bytes>& chain) {
    const std::string pem = to_pem(chain);
    ASSERT_TRUE(state_->write(StateDirectory::kCertificates, std::as_bytes(std::span(pem))));
  }

  // Certificates are made after this is, and hold from then on.
  const std::int64_t now_ = ::time(nullptr) + 60;
  TempDir dir_;
  std::unique_ptr<TpmMaker> maker_;
  std::unique_ptr<RunningTpm> tpm_;
  std::unique_ptr<StateDirectory> state_;
  TestAuthority authority_;
};

TEST_F(Enrolment, EndsWithACertificateThatOpensslVerifies) {
  const HostRequest sent = parse_host_request(serialize(request())).value();
  const auto checked = check_endorsement(sent.endorsement, maker_->roots(), now_);
  ASSERT_TRUE(checked) << checked.error().what;
  const HostGrant received = parse_host_grant(serialize(grant(sent))).value();
  const std::vector<Bytes> chain = open(received).value();
  ASSERT_EQ(chain.size(), 2U);
  install(chain);
  const auto ca = open_host_ca(*state_, tpm_->where()).value();
  EXPECT_EQ(ca->identity().kind, HostIdentity::Kind::kTpm);
  EXPECT_EQ(ca->identity().fingerprint, Sha256::of(serialize(sent.endorsement.key)).value());
  const Said said = shell("openssl verify -x509_strict -CAfile '" + authority_.root_file() + "' '" +
                          (dir_ / "host/certificates.pem") + "'");
  EXPECT_TRUE(said.ok) << said.text;
}

// The partition CA's key signs in the TPM: openssl is content with what it signed.
TEST_F(Enrolment, TheKeyInTheTpmSigns) {
  const std::vector<Bytes> chain = open(grant(request())).value();
  install(chain);
  const auto ca = open_host_ca(*state_, tpm_->where()).value();
  const Bytes info = SigningKey::generate().value().public_info().value();
  const auto point = std::span(info).last(64);
  const TpmEccKey key{Curve::kP256, copy_of(point.first(32)), copy_of(point.last(32))};
  TpmPublic ek = ecc_endorsement_template();
  TpmPublic ak = attestation_key_template();
  ek.key = ak.key = key;
  const auto made = ca->certify({serialize(ek), serialize(ak)}, now_).value();
  EXPECT_TRUE(is_issued_by(made.attestation_key, chain[0]));
  EXPECT_TRUE(is_issued_by(made.endorsement_key, chain[0]));
}

TEST_F(Enrolment, TheKeyIsTheSameEveryTimeAndAnotherWithAnotherSecret) {
  const TpmPublic key = request().ca_key;
  EXPECT_EQ(request().ca_key, key);
  // Who may use the TPM, but not read the secret, makes another key.
  ASSERT_TRUE(state_->write(StateDirectory::kTpmSecret, Bytes(32)));
  EXPECT_NE(request().ca_key, key);
}

// Residency: a TPM without the partition CA's key does not open the grant, and neither does one
// without the endorsement key.
TEST_F(Enrolment, AnotherTpmDoesNotOpenTheGrant) {
  const HostGrant made = grant(request());
  ASSERT_TRUE(open(made));  // the control
  tpm_ = std::make_unique<RunningTpm>(*maker_);
  EXPECT_FALSE(open(made));
}

TEST_F(Enrolment, AnotherKeyInTheSameTpmDoesNotOpenTheGrant) {
  const HostGrant made = grant(request());
  ASSERT_TRUE(open(made));  // the control
  ASSERT_TRUE(state_->write(StateDirectory::kTpmSecret, Bytes(32)));
  EXPECT_FALSE(open(made));
}

// A key that somebody has in software, under the name of a real TPM.
TEST_F(Enrolment, AKeyOutsideOfTheTpmGetsNothing) {
  HostRequest forged = request();
  const Bytes info = SigningKey::generate().value().public_info().value();
  const auto point = std::span(info).last(64);
  forged.ca_key.key = TpmEccKey{Curve::kP256, copy_of(point.first(32)), copy_of(point.last(32))};
  ASSERT_TRUE(check_endorsement(forged.endorsement, maker_->roots(), now_));
  EXPECT_FALSE(open(grant(forged)));
  // The control: the same, but with the key that is there.
  EXPECT_TRUE(open(grant(request())));
}

TEST_F(Enrolment, AChangedGrantDoesNotOpen) {
  const HostGrant made = grant(request());
  ASSERT_TRUE(open(made));  // the control
  HostGrant changed = made;
  changed.sealed[10] ^= std::byte{1};
  EXPECT_FALSE(open(changed));
  changed = made;
  changed.credential.id_object.back() ^= std::byte{1};
  EXPECT_FALSE(open(changed));
  changed = made;
  changed.credential.encrypted_secret[5] ^= std::byte{1};
  EXPECT_FALSE(open(changed));
}

TEST_F(Enrolment, KeysOfAnotherFormAreRefused) {
  const HostRequest good = request();
  const auto granted = [&](const HostRequest& request) {
    return grant_certificate(request, authority_.authority(),
                             {.name = "host", .validity = valid_for_days(now_, 1)})
        .has_value();
  };
  ASSERT_TRUE(granted(good));
  for (std::uint32_t attribute : {tpma_object::kFixedTpm, tpma_object::kSensitiveDataOrigin,
                                  tpma_object::kUserWithAuth, tpma_object::kAdminWithPolicy}) {
    HostRequest bad = good;
    bad.ca_key.attributes ^= attribute;
    EXPECT_FALSE(granted(bad)) << attribute;
  }
  HostRequest bad = good;
  bad.ca_key.auth_policy = Bytes(32);
  EXPECT_FALSE(granted(bad));
  bad = good;
  bad.endorsement.key.attributes ^= tpma_object::kFixedTpm;
  EXPECT_FALSE(granted(bad));
}

TEST_F(Enrolment, TheEndorsementKeyMustBeCertifiedByATrustedMaker) {
  const Endorsement good = request().endorsement;
  const std::vector<Bytes> roots = maker_->roots();
  ASSERT_TRUE(check_endorsement(good, roots, now_));  // the control
  const TpmMaker other;
  const RunningTpm theirs(other);
  EXPECT_FALSE(check_endorsement(good, other.roots(), now_));
  EXPECT_FALSE(check_endorsement(good, authority_.authority().certificates, now_));
  EXPECT_FALSE(check_endorsement(good, roots, now_ - 365 * 86400));
  Endorsement none = good;
  none.certificates.clear();
  EXPECT_FALSE(check_endorsement(none, roots, now_));
  // The certificate of another TPM of the same maker.
  RunningTpm second(*maker_);
  const auto state = StateDirectory::create(dir_ / "second").value();
  Endorsement mixed = open_enrolled_tpm(state, second.where()).value().endorsement;
  ASSERT_TRUE(check_endorsement(mixed, roots, now_));
  mixed.key = good.key;
  EXPECT_FALSE(check_endorsement(mixed, roots, now_));
}

// Both of the usual endorsement keys, against the TPM's own idea of a credential.
TEST_F(Enrolment, CredentialsAreForBothKindsOfKeys) {
  const Said made = shell("cd '" + dir_.path() + "' && export TPM2TOOLS_TCTI='" + tpm_->where() +
                          "' && for kind in rsa ecc; do tpm2_createek -G $kind -c $kind.ctx -u "
                          "$kind.pub -f tss; tpm2_flushcontext -t; done; tpm2_createprimary -C o "
                          "-G ecc -c object.ctx && tpm2_readpublic -c object.ctx -n name; "
                          "tpm2_flushcontext -t");
  ASSERT_TRUE(made.ok) << made.text;
  const std::string name = read_whole(dir_ / "name");
  for (const char* kind : {"rsa", "ecc"}) {
    const std::string area = read_whole(dir_ / (std::string(kind) + ".pub").c_str());
    const TpmPublic key = parse_tpm2b_public(std::as_bytes(std::span(area))).value();
    const TpmPublic form = kind[0] == 'r' ? rsa_endorsement_template() : ecc_endorsement_template();
    EXPECT_TRUE(is_of(key, form)) << kind;
    const Bytes secret(32, std::byte{7});
    const auto credential = make_credential(key, std::as_bytes(std::span(name)), secret).value();
    // The format of tpm2-tools: a magic number, a version, and the two structures.
    const Bytes file = TpmWriter()
                           .u32(0xbadcc0de)
                           .u32(1)
                           .sized(credential.id_object)
                           .sized(credential.encrypted_secret)
                           .take();
    write_whole(dir_ / "credential",
                {static_cast<const char*>(static_cast<const void*>(file.data())), file.size()});
    const Said opened =
        shell("cd '" + dir_.path() + "' && export TPM2TOOLS_TCTI='" + tpm_->where() + "' && " +
              "tpm2_startauthsession --policy-session -S s && tpm2_policysecret -S s -c e && "
              "tpm2_activatecredential -c object.ctx -C " +
              kind +
              ".ctx -i credential -o secret -P session:s; status=$?; tpm2_flushcontext s; "
              "tpm2_flushcontext -t; exit $status");
    EXPECT_TRUE(opened.ok) << opened.text;
    EXPECT_EQ(read_whole(dir_ / "secret"), std::string(32, '\7'));
  }
}

TEST_F(Enrolment, FilesAreReadStrictly) {
  const std::string sent = serialize(request());
  const std::string back = serialize(grant(request()));
  ASSERT_TRUE(parse_host_request(sent));
  ASSERT_TRUE(parse_host_grant(back));
  for (std::size_t size = 0; size < sent.size(); size += 7) {
    EXPECT_FALSE(parse_host_request(sent.substr(0, size)));
  }
  for (std::size_t size = 0; size < back.size(); size += 7) {
    EXPECT_FALSE(parse_host_grant(back.substr(0, size)));
  }
  EXPECT_FALSE(parse_host_request(sent + "more=1\n"));
  EXPECT_FALSE(parse_host_grant(sent));
  EXPECT_FALSE(parse_host_request(back));
  EXPECT_FALSE(parse_host_request("bulkhead_host_request=2\n" + sent.substr(sent.find('\n') + 1)));
}

TEST(StateDirectory, KeepsSecretsToItself) {
  TempDir dir;
  const auto state = StateDirectory::create(dir / "host").value();
  ASSERT_TRUE(state.write("secret", Bytes(32, std::byte{1})));
  EXPECT_EQ(state.read_secret("secret").value().size(), 32U);
  ASSERT_EQ(::chmod((dir / "host/secret").c_str(), 0640), 0);
  EXPECT_EQ(state.read_secret("secret").error().code, Errc::kPermission);
  ASSERT_EQ(::chmod((dir / "host").c_str(), 0777), 0);
  EXPECT_EQ(StateDirectory::open(dir / "host").error().code, Errc::kPermission);
  EXPECT_EQ(StateDirectory::open(dir / "none").error().code, Errc::kNotFound);
}

TEST(HostCaState, SaysThatTheHostIsNotEnrolled) {
  TempDir dir;
  const auto state = StateDirectory::create(dir / "host").value();
  EXPECT_EQ(open_host_ca(state, "").error().code, Errc::kNotFound);
}

}  // namespace
}  // namespace bulkhead::hostca
