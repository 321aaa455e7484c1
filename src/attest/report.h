// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bulkhead {

// Everything that is checked before a secret is released, in the order of docs/attestation.md.
enum class Check : std::uint8_t {
  // Of a quote.
  kKeyAttributes,
  kAlgorithm,
  kSignature,
  kMagic,
  kType,
  kStructure,
  kQualifiedSigner,
  kNonce,
  kPcrSelection,
  kPcrDigest,
  // Of the certificates of the key that made it.
  kCertificateChain,
  kCertificateKey,
  kCertificateTime,
  kHostIdentity,
  // Of the log that explains the quoted values.
  kEventLog,
  kLaunch,
  // Of the claims that a good quote supports, against a policy.
  kSecret,
  kDebug,
  kRollback,
  kIsolation,
  kVersion,
  kHost,
  kFreshness,
  kMeasurement,
};
inline constexpr unsigned kCheckCount = 24;

const char* to_string(Check check);  // "pcr-digest"
// What it means that the check failed: a sentence for people.
const char* refusal_text(Check check);

enum class CheckOutcome : std::uint8_t {
  kPassed,
  kFailed,
  kNotReached,     // something before it failed that it stands on
  kNotApplicable,  // there is nothing to compare with, as `wanted` says
  kOff,            // a test switched the check off
};

const char* to_string(CheckOutcome outcome);

// One line of an explanation. Texts are ours: foreign bytes appear as digits only.
struct Finding {
  Check check = Check::kKeyAttributes;
  CheckOutcome outcome = CheckOutcome::kFailed;
  std::string seen;
  std::string wanted;
};

// "FAILED nonce: seen ..., wanted ..."
std::string to_line(const Finding& finding);

// Which checks are off. Only a test can switch one off: check_switches_for_test.h.
class CheckSwitches {
 public:
  bool is_off(Check check) const { return (off_ >> static_cast<unsigned>(check) & 1) != 0; }

 private:
  friend class CheckSwitchesForTest;

  std::uint32_t off_ = 0;
};

// The findings of one judgement, in the order in which they were made.
class Report {
 public:
  explicit Report(const CheckSwitches& switches) : switches_(switches) {
    findings_.reserve(kCheckCount);
  }

  // Each check once.
  void judge(Check check, bool passed, std::string seen, std::string wanted);
  void not_reached(Check check);
  void not_applicable(Check check, std::string why);

  // What another judgement found, which made none of the same checks.
  void append(Report other);

  const std::vector<Finding>& findings() const { return findings_; }
  // The first failure, which is the reason; null if there is none.
  const Finding* refusal() const;
  bool accepted() const;

 private:
  void add(Check check, CheckOutcome outcome, std::string seen, std::string wanted);

  CheckSwitches switches_;
  std::vector<Finding> findings_;
};

}  // namespace bulkhead
