// SPDX-License-Identifier: Apache-2.0
// Evidence that a real TPM makes, judged as a relying party does.
#include "agent/evidence_source.h"

#include <gtest/gtest.h>

#include "agent/testing/partition.h"
#include "attest/json/evidence_json.h"

namespace bulkhead::agent {
namespace {

Challenge challenge_of(unsigned value) {
  Challenge challenge{.nonce = filled(32, value), .requester_key = {}};
  challenge.requester_key.emplace().fill(static_cast<std::byte>(value + 1));
  return challenge;
}

// How many commands with that code passed to the TPM; before the n-th, the test does something.
class WatchedTpm final : public Tpm {
 public:
  WatchedTpm(Tpm& tpm, std::uint32_t code) : tpm_(tpm), code_(code) {}

  Result<std::size_t> execute(TpmLocality locality, std::span<const std::byte> command,
                              std::span<std::byte, kTpmBufferBytes> response) override {
    ByteReader reader(command);
    CHECK(reader.skip(6));
    if (reader.read_be<std::uint32_t>().value() == code_) {
      ++seen;
      if (before) before();
    }
    if (answer) {
      std::ranges::copy(*answer, response.begin());
      return answer->size();
    }
    return tpm_.execute(locality, command, response);
  }
  void cancel() override {}

  unsigned seen = 0;
  std::function<void()> before;
  std::optional<Bytes> answer;  // instead of the TPM's

 private:
  Tpm& tpm_;
  const std::uint32_t code_;
};
constexpr std::uint32_t kQuoteCode = 0x158;

class EvidenceSourceTest : public ::testing::Test {
 protected:
  PartitionForTest partition_;
};

TEST_F(EvidenceSourceTest, IsAcceptedByWhoTrustsTheHost) {
  EvidenceSource source = partition_.source();
  for (unsigned i = 1; i < 4; ++i) {
    const auto made = source.make(challenge_of(i));
    ASSERT_TRUE(made) << made.error().what;
    // As it travels.
    std::string error;
    const auto evidence = parse_evidence(write_evidence(*made), error);
    ASSERT_TRUE(evidence) << error;
    EXPECT_EQ(*evidence, *made);
    const auto verdict = partition_.judge(*evidence, challenge_of(i));
    EXPECT_TRUE(verdict.report.accepted()) << to_line(*verdict.report.refusal());
    EXPECT_EQ(partition_.judge(*evidence, challenge_of(i + 1)).report.refusal()->check,
              Check::kNonce);
  }
}

TEST_F(EvidenceSourceTest, WithoutARequesterTheNonceIsAnswered) {
  const Challenge challenge{.nonce = filled(16, 7), .requester_key = {}};
  const auto made = partition_.source().make(challenge);
  ASSERT_TRUE(made) << made.error().what;
  EXPECT_TRUE(partition_.judge(*made, challenge).report.accepted());
}

// The monitor shows the daemon its keys by a template of its own.
TEST_F(EvidenceSourceTest, TheKeyIsTheOneThatTheMonitorHasCertified) {
  vtpm::Platform platform(partition_.tpm());
  EXPECT_EQ(serialize(partition_.source().make(challenge_of(1))->key),
            vtpm::show_keys(platform)->attestation_key);
}

TEST_F(EvidenceSourceTest, AnotherStartIsRefused) {
  LaunchFacts facts = launch_facts_for_test();
  facts.command_line += " init=/bin/sh";
  PartitionForTest other(facts);
  const auto made = other.source().make(challenge_of(1));
  const auto verdict = other.judge(*made, challenge_of(1));
  EXPECT_EQ(verdict.report.refusal()->check, Check::kMeasurement);
  const auto switches = CheckSwitchesForTest::without({Check::kMeasurement});
  EXPECT_TRUE(other.judge(*made, challenge_of(1), switches).report.accepted());
}

TEST_F(EvidenceSourceTest, QuotesWhatElseIsAskedFor) {
  partition_.extend(14);
  auto source = EvidenceSource::create(
      partition_.tpm(), {.pcrs = {{TpmAlg::kSha256, 0xffffff}}, .event_log = partition_.event_log});
  const auto made = source->make(challenge_of(1));
  ASSERT_TRUE(made) << made.error().what;
  EXPECT_EQ(made->pcrs.all().size(), 24u);
  EXPECT_NE(*made->pcrs.find({TpmAlg::kSha256, 14}), filled(32, 0));
  EXPECT_TRUE(partition_.judge(*made, challenge_of(1)).report.accepted());
}

// IMA extends PCR 10 whenever it likes.
TEST_F(EvidenceSourceTest, APcrThatChangesMeanwhileIsReadAgain) {
  WatchedTpm tpm(partition_.tpm(), kQuoteCode);
  auto source = EvidenceSource::create(
      tpm, {.pcrs = {{TpmAlg::kSha256, 0x7ff}}, .event_log = partition_.event_log});
  ASSERT_TRUE(source) << source.error().what;
  tpm.before = [&] {
    if (tpm.seen < 3) partition_.extend(10);
  };
  const auto made = source->make(challenge_of(1));
  ASSERT_TRUE(made) << made.error().what;
  EXPECT_EQ(tpm.seen, 3u);
  EXPECT_TRUE(partition_.judge(*made, challenge_of(1)).report.accepted());
  tpm.before = [&] { partition_.extend(10); };
  EXPECT_EQ(source->make(challenge_of(1)).error().code, Errc::kBusy);
}

TEST_F(EvidenceSourceTest, LongChainsAreReadWhole) {
  std::vector<Bytes> certificates = partition_.accepted.certificates;
  certificates.push_back(partition_.accepted.root->der());
  Bytes large = {std::byte{0x30}, std::byte{0x82}, std::byte{0x0f}, std::byte{0xff}};
  large.resize(4 + 0xfff, std::byte{5});
  certificates.push_back(large);
  partition_.write_certificates(certificates);
  EXPECT_EQ(partition_.source().make(challenge_of(1))->certificates, certificates);
}

TEST_F(EvidenceSourceTest, WithoutCertificatesItSaysWhatToDo) {
  partition_.remove_certificates();
  const auto source = EvidenceSource::create(partition_.tpm(), {.event_log = {}});
  ASSERT_FALSE(source);
  EXPECT_EQ(source.error().code, Errc::kNotFound);
  EXPECT_NE(std::string(source.error().what).find("bulkheadd"), std::string::npos);
}

TEST_F(EvidenceSourceTest, LeavesNoKeyInTheTpm) {
  // libtpms has room for three objects.
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(partition_.source().make(challenge_of(1))) << i;
  partition_.remove_certificates();
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(EvidenceSource::create(partition_.tpm(), {.event_log = {}}).error().code,
              Errc::kNotFound);
  }
}

TEST_F(EvidenceSourceTest, ATpmThatAnswersNonsenseIsAnError) {
  WatchedTpm tpm(partition_.tpm(), 0);
  for (const Bytes& answer :
       {Bytes{}, Bytes(9), Bytes(kTpmBufferBytes), TpmWriter().u16(0x8001).u32(10).u32(0).take(),
        TpmWriter().u16(0x8001).u32(11).u32(0).take(),
        TpmWriter().u16(0x8002).u32(18).u32(0).u32(0x80000000).u32(0xffffffff).take()}) {
    tpm.answer = answer;
    EXPECT_FALSE(EvidenceSource::create(tpm, {.event_log = {}})) << answer.size();
    GuestTpm guest(tpm);
    EXPECT_FALSE(guest.read_index(0x01400b01));
    EXPECT_FALSE(guest.read_pcrs({{TpmAlg::kSha256, 1}}));
    EXPECT_FALSE(guest.quote({}, {}, {{TpmAlg::kSha256, 1}}));
  }
}

TEST_F(EvidenceSourceTest, APasswordOfTheHierarchyIsCalledThat) {
  const Bytes change = TpmWriter()
                           .u32(0x4000000b)
                           .u32(9)
                           .u32(0x40000009)
                           .u16(0)
                           .u8(0)
                           .u16(0)
                           .sized(filled(4, 1))
                           .take();
  const Bytes command = TpmWriter()
                            .u16(0x8002)
                            .u32(static_cast<std::uint32_t>(10 + change.size()))
                            .u32(0x129)
                            .raw(change)
                            .take();
  std::array<std::byte, kTpmBufferBytes> response;
  ASSERT_TRUE(partition_.tpm().execute(TpmLocality::k0, command, response));
  const auto source = EvidenceSource::create(partition_.tpm(), {.event_log = {}});
  EXPECT_EQ(source.error().code, Errc::kPermission);
}

TEST(SplitCertificates, TakesWholeElementsOnly) {
  const Bytes one = {std::byte{0x30}, std::byte{1}, std::byte{7}};
  const Bytes two = {std::byte{0x30}, std::byte{0x81}, std::byte{2}, std::byte{8}, std::byte{9}};
  Bytes chain = one;
  chain.insert(chain.end(), two.begin(), two.end());
  EXPECT_EQ(*split_certificates(chain), (std::vector<Bytes>{one, two}));
  EXPECT_EQ(split_certificates({})->size(), 0u);
  for (std::size_t i = 1; i < chain.size(); ++i) {
    EXPECT_EQ(split_certificates(std::span(chain).first(i)).has_value(), i == one.size()) << i;
  }
  for (const auto& wrong : {Bytes{std::byte{0x31}, std::byte{1}, std::byte{7}},
                            Bytes{std::byte{0x30}, std::byte{0}}, Bytes(3),
                            Bytes{std::byte{0x30}, std::byte{0x84}, std::byte{0}, std::byte{0},
                                  std::byte{0}, std::byte{1}, std::byte{7}}}) {
    EXPECT_FALSE(split_certificates(wrong));
  }
  Bytes many;
  for (int i = 0; i < 6; ++i) many.insert(many.end(), one.begin(), one.end());
  EXPECT_FALSE(split_certificates(many));
}

}  // namespace
}  // namespace bulkhead::agent
