// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "attest/certificate_builder_for_test.h"
#include "attest/evidence_verifier.h"
#include "attest/quote_case_for_test.h"
#include "measure/event_log_writer.h"

namespace bulkhead {

inline LaunchFacts launch_facts_for_test() {
  const auto digests = [](std::string_view content) {
    return MultiHash::of(kMeasuredBanks, std::as_bytes(std::span(content))).value();
  };
  LaunchFacts facts;
  facts.monitor.version = "0.2.0";
  facts.monitor.programs = {{"bulkhead-vmm", {}}, {"bulkhead-vtpm", {}}};
  facts.config.isolation = Isolation::kCarved;
  facts.config.cpus = 2;
  facts.config.memory_bytes = 256 * kMiB;
  facts.acpi_tables = digests("tables");
  facts.kernel = digests("kernel");
  facts.initrd = digests("initrd");
  facts.command_line = "console=hvc0 quiet";
  return facts;
}

// PCRs 0 to 9 in both banks.
inline PcrValues pcrs_of(std::span<const LogEvent> events) {
  PcrValues values;
  const std::vector<PcrBank> banks = predict_pcrs(events).value();
  for (const PcrBank& bank : banks) {
    for (unsigned i = 0; i < 10; ++i) {
      CHECK(values.set({to_tpm(bank.algorithm()), i}, bank.values()[i].bytes()));
    }
  }
  return values;
}

inline Bytes log_of_events(std::span<const LogEvent> events) {
  EventLogWriter writer = EventLogWriter::create({.banks = kMeasuredBanks}).value();
  for (const LogEvent& event : events) writer.append(event).value();
  return copy_of(writer.log());
}

// A partition on a host, and a relying party that accepts it. A test changes one thing, and sees
// what refuses it.
struct EvidenceCase {
  EvidenceCase() {
    root.emplace(root_form());
    CHECK(trust.add(Certificate::parse(root->der()).value()));
    set_host(host_with_tpm(0x33));
    certify(signer->object());
    policy.general.isolation = Isolation::kCarved;
    policy.general.hosts = {host.fingerprint};
    policy.general.minimum_versions[Component::kMonitor] = Version{0, 2, 0};
    policy.general.references = {"image"};
    const PcrValues good = pcrs_of(measure_launch(facts).value());
    policy.references["image"] = good.selected({{TpmAlg::kSha256, 0x311}}).value();
    challenge.requester_key.emplace().fill(std::byte{0x22});
    quoted_challenge = challenge;
  }

  // Makes a partition CA for that host.
  void set_host(const HostIdentity& identity) {
    host = identity;
    partition_ca.emplace(partition_ca_form(identity), *root);
  }
  // Makes the chain anew.
  void certify(const TpmPublic& object, const CertificateForm& form = attestation_key_form()) {
    certificates = {partition_ca->issue_for(form, object), partition_ca->der()};
  }

  Evidence evidence() const {
    const std::vector<LogEvent> events = measure_launch(facts).value();
    Evidence made;
    made.nonce = challenge.nonce;
    made.requester_key = challenge.requester_key;
    made.key = key.value_or(signer->object());
    made.pcrs = pcrs_of(events).selected(selections).value();
    made.event_log = log_of_events(logged ? measure_launch(*logged).value() : events);
    made.certificates = certificates;
    TpmQuote quote = QuoteCase(*signer).quote;
    quote.extra_data = qualifying_data(quoted_challenge).value();
    quote.selections = selections;
    quote.pcr_digest = pcr_digest(HashAlgorithm::kSha256, selections, made.pcrs).value();
    made.attest = encode(quote);
    made.signature = encode(signer->sign(made.attest));
    return made;
  }

  EvidenceExpectation expectation() const {
    return {.policy = policy,
            .trust = trust,
            .now = now,
            .secret = {},
            .challenge = challenge,
            .asked_s_ago = asked_s_ago};
  }
  EvidenceVerdict judge(const CheckSwitches& switches = {}) const {
    return verify_evidence(evidence(), expectation(), switches);
  }

  // The partition.
  const FakeKey* signer = &default_fake_key();
  std::optional<TpmPublic> key;  // that is shown instead of the signer's
  LaunchFacts facts = launch_facts_for_test();
  std::optional<LaunchFacts> logged;  // what the log says instead
  PcrSelections selections = {{TpmAlg::kSha256, 0x3ff}};
  Challenge quoted_challenge;
  // Its host.
  std::optional<AuthorityForTest> root;
  HostIdentity host;
  std::optional<AuthorityForTest> partition_ca;
  std::vector<Bytes> certificates;
  // The relying party.
  TrustStore trust = TrustStore::create().value();
  Policy policy;
  Challenge challenge{.nonce = filled(32, 0x11), .requester_key = {}};
  std::uint64_t asked_s_ago = 10;
  UtcTime now = parse_utc_time("2026-11-22T14:00:00Z").value();
};

}  // namespace bulkhead
