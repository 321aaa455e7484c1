// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>

#include "agent/evidence_source.h"
#include "attest/evidence_case_for_test.h"
#include "vtpm/partition_keys.h"
#include "vtpm/process_handle.h"

namespace bulkhead::agent {

// A partition that was started as the relying party of `accepted` wants it: a real vTPM, into which
// a start was measured as the monitor does, with certificates of a host that is trusted.
class PartitionForTest {
 public:
  explicit PartitionForTest(const LaunchFacts& facts = launch_facts_for_test()) {
    CHECK(process_->client().init());
    vtpm::Platform platform(tpm());
    CHECK(platform.startup());
    // As libtpms allocates them: what the policy and the log name is there.
    CHECK(platform.choose_banks(kMeasuredBanks));
    CHECK(process_->client().init());
    CHECK(platform.startup());
    accepted.certify(parse_tpmt_public(vtpm::show_keys(platform)->attestation_key).value());
    write_certificates(accepted.certificates);
    measure(platform, facts);
    accepted.policy.secrets["default/disk/key"] = accepted.policy.general;
  }

  Tpm& tpm() { return process_->client(); }
  // From the attestation key's up.
  void write_certificates(const std::vector<Bytes>& certificates) {
    vtpm::Platform platform(tpm());
    Bytes chain;
    for (std::size_t i = 1; i < certificates.size(); ++i) {
      chain.insert(chain.end(), certificates[i].begin(), certificates[i].end());
    }
    CHECK(vtpm::write_certificates(platform, {Bytes(10), certificates[0], chain}));
  }
  void remove_certificates() {
    vtpm::Platform platform(tpm());
    CHECK(vtpm::remove_certificates(platform));
  }
  void extend(unsigned pcr) {
    vtpm::Platform platform(tpm());
    const auto digests = MultiHash::of(kMeasuredBanks, filled(1, 1)).value();
    CHECK(platform.extend(Pcr(pcr), digests));
  }
  EvidenceSource source() {
    auto made = EvidenceSource::create(tpm(), {.event_log = event_log});
    CHECK(made.has_value());
    return std::move(*made);
  }
  // As the one relying party does, for this challenge.
  EvidenceVerdict judge(const Evidence& evidence, const Challenge& challenge,
                        const CheckSwitches& switches = {}) const {
    EvidenceExpectation expectation = accepted.expectation();
    expectation.challenge = challenge;
    return verify_evidence(evidence, expectation, switches);
  }

  EvidenceCase accepted;
  Bytes event_log;

 private:
  void measure(vtpm::Platform& platform, const LaunchFacts& facts) {
    const std::vector<LogEvent> events = measure_launch(facts).value();
    for (const LogEvent& event : events) CHECK(platform.extend(event.pcr, event.digests));
    event_log = log_of_events(events);
  }

  const Fd program_ = Fd::open(BULKHEAD_VTPM_PROGRAM, O_PATH).value();
  const std::unique_ptr<vtpm::ProcessHandle> process_ =
      vtpm::ProcessHandle::start({.program_fd = program_.get()}).value();
};

}  // namespace bulkhead::agent
