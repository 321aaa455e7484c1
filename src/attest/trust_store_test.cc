// SPDX-License-Identifier: Apache-2.0
#include "attest/trust_store.h"

#include <gtest/gtest.h>

#include "attest/certificate_judge.h"
#include "attest/evidence_case_for_test.h"

namespace bulkhead {
namespace {

std::string error_of(const Result<void>& result) {
  return result ? "" : result.error().what;
}

std::vector<std::string> lines_of(const EvidenceCase& what, bool key_has_signed) {
  Report report{CheckSwitches()};
  const TpmPublic key = what.signer->object();
  judge_certificates(report, {what.certificates, key, key_has_signed}, what.trust, what.now);
  std::vector<std::string> lines;
  for (const Finding& finding : report.findings()) lines.push_back(to_line(finding));
  return lines;
}

// What the chain's line says, and whether it passed: by every way the same.
std::string chain_line(const EvidenceCase& what) {
  const auto lines = lines_of(what, false);  // the long way, or remembered from it
  EXPECT_EQ(lines_of(what, true), lines);
  EXPECT_EQ(lines_of(what, true), lines);
  const auto facts = what.trust.facts_of(what.certificates);
  if (facts) {
    EXPECT_TRUE(lines[0].starts_with("passed")) << lines[0];
    EXPECT_EQ(facts, what.trust.known_facts_of(what.certificates));
  }
  return lines.front();
}

bool says(const std::string& line, std::string_view part) {
  return line.find(part) != std::string::npos;
}

TEST(TrustStore, TakesPemFiles) {
  const AuthorityForTest one(root_form());
  const AuthorityForTest other(root_form());
  TrustStore store = TrustStore::create().value();
  EXPECT_EQ(error_of(store.add_pem("Two roots:\n" + one.pem() + "and\n" + other.pem())), "");
  EXPECT_EQ(store.size(), 2U);
  EXPECT_EQ(error_of(store.add_pem("")), "no certificate in PEM form");
  EXPECT_EQ(error_of(store.add_pem("nothing here")), "no certificate in PEM form");
}

// A root that is silently not there would be missed much later.
TEST(TrustStore, PassesNothingOver) {
  const AuthorityForTest root(root_form());
  const AuthorityForTest ca(partition_ca_form(host_with_tpm(1)), root);
  TrustStore store = TrustStore::create().value();
  EXPECT_EQ(error_of(store.add_pem(ca.pem())), "not self-signed: give the root that issued it");
  const std::string good = root.pem();
  EXPECT_EQ(error_of(store.add_pem(good.substr(0, good.size() - 10))), "a damaged PEM block");
  std::string changed = good;
  changed[40] = '*';
  EXPECT_EQ(error_of(store.add_pem(changed)), "a damaged PEM block");
  EXPECT_EQ(error_of(store.add_pem("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")),
            "a PEM block that is no certificate");
  EXPECT_EQ(store.size(), 0U);
  CertificateForm no_ca = root_form();
  no_ca.basic_constraints = "critical,CA:FALSE";
  EXPECT_EQ(error_of(store.add(Certificate::parse(AuthorityForTest(no_ca).der()).value())),
            "not the certificate of a CA");
}

TEST(TrustStore, HasABound) {
  TrustStore store = TrustStore::create().value();
  for (std::size_t i = 0; i < kMaxRoots; ++i) {
    ASSERT_TRUE(store.add(Certificate::parse(AuthorityForTest(root_form()).der()).value()));
  }
  EXPECT_EQ(error_of(store.add(Certificate::parse(AuthorityForTest(root_form()).der()).value())),
            "more than 64 roots");
}

TEST(CertificateChain, MayHoldTheRoot) {
  EvidenceCase shown;
  EXPECT_TRUE(says(chain_line(shown), "passed certificate-chain")) << chain_line(shown);
  shown.certificates.push_back(shown.root->der());
  EXPECT_TRUE(says(chain_line(shown), "passed certificate-chain")) << chain_line(shown);
}

TEST(CertificateChain, MayHoldAnIntermediate) {
  EvidenceCase shown;
  shown.root.emplace(CertificateForm{.subject = "Root", .basic_constraints = "critical,CA:TRUE"});
  ASSERT_TRUE(shown.trust.add(Certificate::parse(shown.root->der()).value()));
  const AuthorityForTest middle({.subject = "Fleet", .basic_constraints = "critical,CA:TRUE"},
                                *shown.root);
  shown.partition_ca.emplace(partition_ca_form(shown.host), middle);
  shown.certify(shown.signer->object());
  EXPECT_TRUE(says(chain_line(shown), "FAILED"));
  shown.certificates.push_back(middle.der());
  EXPECT_TRUE(says(chain_line(shown), "passed certificate-chain")) << chain_line(shown);
  // The same in another order.
  std::swap(shown.certificates[1], shown.certificates[2]);
  EXPECT_TRUE(says(chain_line(shown), "FAILED"));
}

TEST(CertificateChain, HasBounds) {
  EvidenceCase shown;
  const Bytes leaf = shown.certificates[0];
  shown.certificates = {leaf};
  EXPECT_TRUE(says(chain_line(shown), "seen 1 certificates")) << chain_line(shown);
  shown.certificates.clear();
  EXPECT_TRUE(says(chain_line(shown), "seen 0 certificates"));
  shown.certificates.assign(6, leaf);
  EXPECT_TRUE(says(chain_line(shown), "seen 6 certificates"));
}

TEST(CertificateChain, HoldsNothingNeedless) {
  EvidenceCase shown;
  const AuthorityForTest other({.subject = "Other", .basic_constraints = "critical,CA:TRUE"});
  shown.certificates.push_back(other.der());
  EXPECT_TRUE(says(chain_line(shown), "one is needless")) << chain_line(shown);
}

// A host's CA makes another CA, with another host's name in it.
TEST(CertificateChain, PartitionCasMakeNoCas) {
  EvidenceCase attack;
  const HostIdentity mine = host_with_tpm(0x44);
  const AuthorityForTest own(partition_ca_form(mine), *attack.root);
  CertificateForm form = partition_ca_form(attack.host);
  form.subject = "Partitions of another host";
  attack.partition_ca.emplace(form, own);
  attack.certify(attack.signer->object());
  attack.certificates.push_back(own.der());
  EXPECT_TRUE(says(chain_line(attack), "certificate 3: it has a host's identity"));
}

// The same where the upper one says nothing of a host: by its path length. A CA that is issued in
// its issuer's own name does not count for OpenSSL, as RFC 5280 has it.
TEST(CertificateChain, PathLengthsCountEveryCa) {
  EvidenceCase attack;
  CertificateForm form = partition_ca_form(attack.host);
  form.host_identity.reset();
  const AuthorityForTest above(form, *attack.root);
  form = partition_ca_form(attack.host);
  attack.partition_ca.emplace(form, above);
  attack.certify(attack.signer->object());
  attack.certificates.push_back(above.der());
  EXPECT_TRUE(says(chain_line(attack), "more CAs than a path length")) << chain_line(attack);
  form.subject = "Partitions of another host";
  attack.partition_ca.emplace(form, above);
  attack.certify(attack.signer->object());
  attack.certificates.push_back(above.der());
  EXPECT_TRUE(says(chain_line(attack), "path length constraint exceeded")) << chain_line(attack);
}

// An attestation key's certificate issues nothing.
TEST(CertificateChain, LeavesAreNoCas) {
  EvidenceCase attack;
  CertificateForm form = attestation_key_form();
  const AuthorityForTest leaf(form, *attack.partition_ca);
  attack.certificates = {leaf.issue_for(form, attack.signer->object()), leaf.der(),
                         attack.partition_ca->der()};
  EXPECT_TRUE(says(chain_line(attack), "certificate 2: it is no CA")) << chain_line(attack);
}

TEST(CertificateChain, EveryBitCounts) {
  EvidenceCase attack;
  for (std::size_t which : {0U, 1U}) {
    const Bytes good = attack.certificates[which];
    for (std::size_t i = 0; i < good.size(); ++i) {
      attack.certificates[which] = good;
      attack.certificates[which][i] ^= static_cast<std::byte>(1U << i % 8);
      ASSERT_TRUE(says(chain_line(attack), "FAILED")) << which << " " << i;
    }
    attack.certificates[which] = good;
  }
  EXPECT_TRUE(says(chain_line(attack), "passed"));
}

}  // namespace
}  // namespace bulkhead
