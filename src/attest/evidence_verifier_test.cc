// SPDX-License-Identifier: Apache-2.0
// Each attack is refused for its own reason, and succeeds where that check alone is off.
#include "attest/evidence_verifier.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "attest/evidence_case_for_test.h"

namespace bulkhead {
namespace {

std::string lines(const Report& report) {
  std::string text;
  for (const Finding& finding : report.findings()) text += to_line(finding) + "\n";
  return text;
}

const Finding& finding_of(const Report& report, Check check) {
  return *std::ranges::find(report.findings(), check, &Finding::check);
}

// Nothing but these checks stands in the way.
void expect_refused_by(const EvidenceCase& attack, std::initializer_list<Check> checks) {
  const EvidenceVerdict verdict = attack.judge();
  ASSERT_FALSE(verdict.report.accepted()) << lines(verdict.report);
  EXPECT_FALSE(verdict.partition);
  EXPECT_EQ(verdict.report.findings().size(), kCheckCount);
  ASSERT_NE(verdict.report.refusal(), nullptr);
  EXPECT_EQ(to_string(verdict.report.refusal()->check), std::string(to_string(*checks.begin())));
  const EvidenceVerdict off = attack.judge(CheckSwitchesForTest::without(checks));
  EXPECT_TRUE(off.report.accepted()) << lines(off.report);
}

TEST(EvidenceVerifier, AcceptsAndTells) {
  const EvidenceVerdict verdict = EvidenceCase().judge();
  ASSERT_TRUE(verdict.report.accepted()) << lines(verdict.report);
  ASSERT_TRUE(verdict.partition.has_value());
  const Claims& claims = verdict.partition->claims;
  EXPECT_EQ(claims.isolation, Isolation::kCarved);
  EXPECT_FALSE(claims.debug);
  EXPECT_EQ(claims.host, host_with_tpm(0x33).fingerprint);
  EXPECT_EQ(claims.quote_age_s, 10U);
  EXPECT_EQ(claims.versions[Component::kMonitor], (Version{0, 2, 0}));
  EXPECT_EQ(claims.versions[Component::kVtpm], (Version{0, 2, 0}));
  EXPECT_FALSE(claims.versions[Component::kImage]);
  EXPECT_EQ(verdict.partition->launch, launch_facts_for_test());
  EXPECT_EQ(verdict.partition->host, host_with_tpm(0x33));
  EXPECT_EQ(verdict.partition->quote.clock.reset_count, 7U);
}

TEST(EvidenceVerifier, EveryCheckHasItsLineInOrder) {
  const Report report = EvidenceCase().judge().report;
  ASSERT_EQ(report.findings().size(), kCheckCount);
  for (unsigned i = 0; i < kCheckCount; ++i) {
    EXPECT_EQ(report.findings()[i].check, static_cast<Check>(i));
  }
}

TEST(EvidenceVerifier, ChangedKernel) {
  EvidenceCase attack;
  attack.facts.kernel = attack.facts.acpi_tables;
  expect_refused_by(attack, {Check::kMeasurement});
}

TEST(EvidenceVerifier, ChangedInitrd) {
  EvidenceCase attack;
  attack.facts.initrd = attack.facts.acpi_tables;
  expect_refused_by(attack, {Check::kMeasurement});
  attack.facts.initrd.reset();
  expect_refused_by(attack, {Check::kMeasurement});
}

TEST(EvidenceVerifier, ChangedCommandLine) {
  EvidenceCase attack;
  attack.facts.command_line += " init=/bin/sh";
  expect_refused_by(attack, {Check::kMeasurement});
}

TEST(EvidenceVerifier, ChangedConfiguration) {
  EvidenceCase attack;
  const PcrId config{TpmAlg::kSha256, index_of(kConfigPcr)};
  const PcrValues good = pcrs_of(measure_launch(attack.facts).value());
  attack.policy.general.pcrs[config] = {*good.find(config)};
  ASSERT_TRUE(attack.judge().report.accepted());
  attack.facts.config.vsock = true;
  expect_refused_by(attack, {Check::kMeasurement});
}

TEST(EvidenceVerifier, OlderMonitor) {
  EvidenceCase attack;
  attack.policy.references["image"] =
      attack.policy.references["image"].selected({{TpmAlg::kSha256, 0x310}}).value();
  attack.facts.monitor.version = "0.1.9";
  expect_refused_by(attack, {Check::kVersion});
}

TEST(EvidenceVerifier, DebugMonitor) {
  EvidenceCase attack;
  attack.facts.config.debug = true;
  expect_refused_by(attack, {Check::kDebug});
}

TEST(EvidenceVerifier, StateThatOnlyAFileCounts) {
  EvidenceCase attack;
  attack.facts.config.tpm_state = TpmState::kFileCounter;
  expect_refused_by(attack, {Check::kRollback});
}

TEST(EvidenceVerifier, WeakerIsolation) {
  EvidenceCase attack;
  attack.facts.config.isolation = Isolation::kMemfd;
  expect_refused_by(attack, {Check::kIsolation});
}

TEST(EvidenceVerifier, ReplayedNonce) {
  EvidenceCase attack;
  attack.quoted_challenge.nonce = filled(32, 0x12);
  expect_refused_by(attack, {Check::kNonce});
}

// Somebody in the middle passes another partition's quote on, to get the secret for a key of their
// own.
TEST(EvidenceVerifier, SubstitutedRequesterKey) {
  EvidenceCase attack;
  attack.quoted_challenge.requester_key->fill(std::byte{0x23});
  expect_refused_by(attack, {Check::kNonce});
  attack.quoted_challenge.requester_key.reset();
  expect_refused_by(attack, {Check::kNonce});
}

// Another partition's TPM signed it, under this one's name.
TEST(EvidenceVerifier, QuoteOfAnotherPartition) {
  const FakeKey other({TpmAlg::kEcdsa, TpmAlg::kSha256}, 256);
  EvidenceCase attack;
  attack.key = attack.signer->object();
  attack.signer = &other;
  expect_refused_by(attack, {Check::kSignature, Check::kQualifiedSigner});
}

// The key is the attacker's, and the certificate that of a real partition.
TEST(EvidenceVerifier, SubstitutedAttestationKey) {
  const FakeKey other({TpmAlg::kEcdsa, TpmAlg::kSha256}, 256);
  EvidenceCase attack;
  attack.signer = &other;
  expect_refused_by(attack, {Check::kCertificateKey});
}

TEST(EvidenceVerifier, KeyThatNobodyTrustedCertified) {
  EvidenceCase attack;
  attack.root.emplace(root_form());  // of the same name
  attack.set_host(attack.host);
  attack.certify(attack.signer->object());
  expect_refused_by(attack, {Check::kCertificateChain});
}

TEST(EvidenceVerifier, CertificateOfAnotherHost) {
  EvidenceCase attack;
  attack.set_host(host_with_tpm(0x34));
  attack.certify(attack.signer->object());
  expect_refused_by(attack, {Check::kHost});
}

// A host without a TPM claims to be one that the policy names.
TEST(EvidenceVerifier, SoftwareKeyUnderAnotherHostsName) {
  EvidenceCase attack;
  HostIdentity forged = attack.host;
  forged.kind = HostIdentity::Kind::kSoftware;
  attack.set_host(forged);
  attack.certify(attack.signer->object());
  expect_refused_by(attack, {Check::kHostIdentity, Check::kHost});
}

TEST(EvidenceVerifier, SoftwareKeyUnderItsOwnName) {
  EvidenceCase honest;
  honest.partition_ca.emplace(AuthorityForTest::software_host());
  const HostIdentity own{.kind = HostIdentity::Kind::kSoftware,
                         .fingerprint = honest.partition_ca->key_digest()};
  honest.certify(honest.signer->object());
  ASSERT_TRUE(honest.trust.add(Certificate::parse(honest.partition_ca->der()).value()));
  honest.policy.general.hosts = {own.fingerprint};
  const EvidenceVerdict verdict = honest.judge();
  ASSERT_TRUE(verdict.report.accepted()) << lines(verdict.report);
  EXPECT_EQ(verdict.partition->host, own);
}

TEST(EvidenceVerifier, ExpiredCertificates) {
  EvidenceCase late;
  late.now = parse_utc_time("2027-01-01T00:00:01Z").value();
  expect_refused_by(late, {Check::kCertificateTime});
  late.now = parse_utc_time("2027-01-01T00:00:00Z").value();
  EXPECT_TRUE(late.judge().report.accepted());
  late.now = parse_utc_time("2025-12-31T23:59:59Z").value();
  expect_refused_by(late, {Check::kCertificateTime});
}

// Each of the three alone, the root included, which is not in the evidence.
TEST(EvidenceVerifier, OneExpiredCertificate) {
  const UtcTime early = parse_utc_time("2026-11-22T13:59:59Z").value();
  EvidenceCase leaf;
  CertificateForm form = attestation_key_form();
  form.not_after = early;
  leaf.certify(leaf.signer->object(), form);
  expect_refused_by(leaf, {Check::kCertificateTime});
  EvidenceCase middle;
  CertificateForm ca = partition_ca_form(middle.host);
  ca.not_after = early;
  middle.partition_ca.emplace(ca, *middle.root);
  middle.certify(middle.signer->object());
  expect_refused_by(middle, {Check::kCertificateTime});
  EvidenceCase top;
  CertificateForm root = root_form();
  root.not_after = early;
  top.root.emplace(root);
  ASSERT_TRUE(top.trust.add(Certificate::parse(top.root->der()).value()));
  top.set_host(top.host);
  top.certify(top.signer->object());
  expect_refused_by(top, {Check::kCertificateTime});
}

// The log lies about what is not quoted.
TEST(EvidenceVerifier, ReducedSelection) {
  EvidenceCase attack;
  attack.logged = attack.facts;
  attack.facts.config.debug = true;
  attack.selections = {{TpmAlg::kSha256, 0x3fd}};
  expect_refused_by(attack, {Check::kPcrSelection});
}

// PCRs of both banks together are not enough: the log could be right in one, and lie in the other.
TEST(EvidenceVerifier, SelectionSplitOverBanks) {
  EvidenceCase attack;
  attack.selections = {{TpmAlg::kSha256, 0x3fd}, {TpmAlg::kSha384, 0x002}};
  expect_refused_by(attack, {Check::kPcrSelection});
}

TEST(EvidenceVerifier, LogThatDoesNotReplay) {
  EvidenceCase attack;
  attack.logged = attack.facts;
  attack.facts.config.debug = true;
  expect_refused_by(attack, {Check::kEventLog});
}

TEST(EvidenceVerifier, OldQuote) {
  EvidenceCase attack;
  attack.asked_s_ago = 301;
  expect_refused_by(attack, {Check::kFreshness});
}

// What the log says is read only if it is a start and nothing else. An event too many that was
// really extended replays; it would let a guest put its own word where the monitor's should be.
TEST(EvidenceVerifier, LogOfSomethingElse) {
  const EvidenceCase base;
  std::vector<LogEvent> events = measure_launch(base.facts).value();
  events.push_back(events.back());
  Evidence evidence = base.evidence();
  evidence.event_log = log_of_events(events);
  evidence.pcrs = pcrs_of(events).selected(base.selections).value();
  TpmQuote quote = parse_tpm_quote(evidence.attest).value();
  quote.pcr_digest = pcr_digest(HashAlgorithm::kSha256, base.selections, evidence.pcrs).value();
  evidence.attest = encode(quote);
  evidence.signature = encode(base.signer->sign(evidence.attest));
  const Report report = verify_evidence(evidence, base.expectation()).report;
  ASSERT_NE(report.refusal(), nullptr);
  EXPECT_EQ(report.refusal()->check, Check::kLaunch) << lines(report);
  // Nothing is known of a partition whose log says nothing.
  for (Check check : {Check::kDebug, Check::kIsolation, Check::kVersion}) {
    EXPECT_EQ(finding_of(report, check).outcome, CheckOutcome::kFailed);
  }
}

TEST(EvidenceVerifier, LogThatIsNone) {
  const EvidenceCase base;
  Evidence evidence = base.evidence();
  evidence.event_log.resize(evidence.event_log.size() - 1);
  const Report report = verify_evidence(evidence, base.expectation()).report;
  EXPECT_EQ(report.refusal()->check, Check::kEventLog);
  EXPECT_EQ(finding_of(report, Check::kLaunch).outcome, CheckOutcome::kNotReached);
}

// What the guest extends does not count.
TEST(EvidenceVerifier, GuestsPcrsAreTheGuests) {
  const EvidenceCase base;
  Evidence evidence = base.evidence();
  ASSERT_TRUE(evidence.pcrs.set({TpmAlg::kSha256, 10}, filled(32, 0x55)));
  TpmQuote quote = parse_tpm_quote(evidence.attest).value();
  quote.selections = {{TpmAlg::kSha256, 0x7ff}};
  quote.pcr_digest = pcr_digest(HashAlgorithm::kSha256, quote.selections, evidence.pcrs).value();
  evidence.attest = encode(quote);
  evidence.signature = encode(base.signer->sign(evidence.attest));
  EXPECT_TRUE(verify_evidence(evidence, base.expectation()).report.accepted());
}

TEST(EvidenceVerifier, WithoutANonceFreshnessStaysOpen) {
  const EvidenceCase base;
  EvidenceExpectation expectation = base.expectation();
  expectation.challenge.reset();
  expectation.asked_s_ago.reset();
  const EvidenceVerdict verdict = verify_evidence(base.evidence(), expectation);
  EXPECT_TRUE(verdict.report.accepted()) << lines(verdict.report);
  for (Check check : {Check::kNonce, Check::kFreshness}) {
    EXPECT_EQ(finding_of(verdict.report, check).outcome, CheckOutcome::kNotApplicable);
  }
  // Who says when they asked must say what they asked.
  expectation.asked_s_ago = 1;
  EXPECT_EQ(verify_evidence(base.evidence(), expectation).report.refusal()->check,
            Check::kFreshness);
}

TEST(EvidenceVerifier, UnknownSecret) {
  const EvidenceCase base;
  EvidenceExpectation expectation = base.expectation();
  expectation.secret = "default/disk/key";
  EXPECT_EQ(verify_evidence(base.evidence(), expectation).report.refusal()->check, Check::kSecret);
}

}  // namespace
}  // namespace bulkhead
