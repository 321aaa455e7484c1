// SPDX-License-Identifier: Apache-2.0
#include "attest/known_chains.h"

#include <gtest/gtest.h>

#include "attest/evidence_case_for_test.h"

namespace bulkhead {
namespace {

std::vector<Bytes> chain_of(unsigned number) {
  return {Bytes(3, std::byte{1}), TpmWriter().u32(number).take()};
}

ChainFacts facts_of(unsigned number) {
  return {.validity = {}, .key_info = TpmWriter().u32(number).take(), .host = {}};
}

TEST(KnownChains, KnowsWhatItWasTold) {
  KnownChains known;
  EXPECT_FALSE(known.find(chain_of(1)));
  known.add(chain_of(1), facts_of(1));
  EXPECT_EQ(known.find(chain_of(1)), facts_of(1));
  EXPECT_FALSE(known.find(chain_of(2)));
  known.clear();
  EXPECT_FALSE(known.find(chain_of(1)));
}

// The same bytes, cut otherwise, are another chain.
TEST(KnownChains, CutsMatter) {
  KnownChains known;
  known.add(std::vector{filled(3, 1), filled(2, 1)}, facts_of(1));
  EXPECT_FALSE(known.find(std::vector{filled(2, 1), filled(3, 1)}));
  EXPECT_FALSE(known.find(std::vector<Bytes>{filled(5, 1)}));
  EXPECT_FALSE(known.find(std::vector<Bytes>{filled(3, 1)}));
}

TEST(KnownChains, HasBounds) {
  KnownChains known;
  for (unsigned i = 0; i < KnownChains::kMaxChains + 2; ++i) {
    known.add(chain_of(i), facts_of(i));
    known.add(chain_of(i), facts_of(i));  // takes no second place
  }
  EXPECT_FALSE(known.find(chain_of(0)));
  EXPECT_FALSE(known.find(chain_of(1)));
  EXPECT_TRUE(known.find(chain_of(2)));
  EXPECT_TRUE(known.find(chain_of(KnownChains::kMaxChains + 1)));
  const std::vector large = {filled(KnownChains::kMaxChainBytes, 1), filled(1, 1)};
  known.add(large, facts_of(1));
  EXPECT_FALSE(known.find(large));
}

// Evidence that was accepted once: by the short way, and remembered.
struct SeenCase : EvidenceCase {
  SeenCase() {
    EXPECT_FALSE(trust.known_facts_of(certificates));
    EXPECT_TRUE(judge().report.accepted());
    EXPECT_TRUE(trust.known_facts_of(certificates));
    EXPECT_TRUE(judge().report.accepted());
  }

  std::string reason() const {
    const EvidenceVerdict verdict = judge();
    const Finding* found = verdict.report.refusal();
    return found == nullptr ? "" : to_string(found->check);
  }
};

TEST(KnownChains, DoNotOutliveTheirTime) {
  SeenCase seen;
  seen.now = parse_utc_time("2027-01-01T00:00:00Z").value();
  EXPECT_EQ(seen.reason(), "");
  seen.now = parse_utc_time("2027-01-01T00:00:01Z").value();
  EXPECT_EQ(seen.reason(), "certificate-time");
  EXPECT_TRUE(seen.trust.known_facts_of(seen.certificates));
  seen.now = parse_utc_time("2025-12-31T23:59:59Z").value();
  EXPECT_EQ(seen.reason(), "certificate-time");
}

// A chain vouches for its own key only.
TEST(KnownChains, VouchForNoOtherKey) {
  SeenCase seen;
  const FakeKey other({TpmAlg::kEcdsa, TpmAlg::kSha256}, 256);
  seen.signer = &other;
  EXPECT_EQ(seen.reason(), "certificate-key");
}

TEST(KnownChains, AreKnownToTheirRootsOnly) {
  SeenCase seen;
  seen.trust = TrustStore::create().value();
  EXPECT_EQ(seen.reason(), "certificate-chain");
  const AuthorityForTest other(root_form());
  ASSERT_TRUE(seen.trust.add(Certificate::parse(other.der()).value()));
  EXPECT_EQ(seen.reason(), "certificate-chain");
}

TEST(KnownChains, AreForgottenForANewRoot) {
  SeenCase seen;
  const AuthorityForTest other({.subject = "Another root"});
  ASSERT_TRUE(seen.trust.add(Certificate::parse(other.der()).value()));
  EXPECT_FALSE(seen.trust.known_facts_of(seen.certificates));
  EXPECT_EQ(seen.reason(), "");
}

TEST(KnownChains, ChangeWithEveryByte) {
  SeenCase seen;
  for (std::size_t which : {0U, 1U}) {
    const Bytes good = seen.certificates[which];
    for (std::size_t i = 0; i < good.size(); i += 7) {
      seen.certificates[which][i] ^= std::byte{1};
      EXPECT_EQ(seen.reason(), "certificate-chain") << which << " " << i;
      EXPECT_FALSE(seen.trust.known_facts_of(seen.certificates));
      seen.certificates[which] = good;
    }
  }
  EXPECT_EQ(seen.reason(), "");
}

// Nothing that was refused is remembered, nor what only a switched-off check let pass.
TEST(KnownChains, RememberNoRefusal) {
  EvidenceCase bad;
  const auto without_chain = CheckSwitchesForTest::without({Check::kCertificateChain});
  bad.root.emplace(root_form());
  bad.set_host(bad.host);
  bad.certify(bad.signer->object());
  EXPECT_FALSE(bad.judge().report.accepted());
  EXPECT_TRUE(bad.judge(without_chain).report.accepted());
  EXPECT_FALSE(bad.trust.known_facts_of(bad.certificates));
  EXPECT_FALSE(bad.judge().report.accepted());
}

// Also of a chain that only the long way accepts.
TEST(KnownChains, KnowTheLongWay) {
  EvidenceCase shown;
  shown.root.emplace(CertificateForm{.subject = "R\xc3\xb6\xc3\xb6t"});
  ASSERT_TRUE(shown.trust.add(Certificate::parse(shown.root->der()).value()));
  shown.set_host(shown.host);
  shown.certify(shown.signer->object());
  EXPECT_FALSE(shown.trust.facts_of(shown.certificates));
  const auto first = shown.judge();
  EXPECT_TRUE(first.report.accepted());
  ASSERT_TRUE(shown.trust.known_facts_of(shown.certificates));
  const auto again = shown.judge();
  ASSERT_EQ(again.report.findings().size(), first.report.findings().size());
  for (std::size_t i = 0; i < first.report.findings().size(); ++i) {
    EXPECT_EQ(to_line(again.report.findings()[i]), to_line(first.report.findings()[i]));
  }
}

}  // namespace
}  // namespace bulkhead
