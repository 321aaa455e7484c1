// SPDX-License-Identifier: Apache-2.0
#include "cli/verify_report.h"

#include "base/base64.h"

namespace bulkhead::cli {
namespace {

std::string line(const char* what, const std::string& text) {
  std::string name = what;
  name.resize(16, ' ');
  return "  " + name + text + "\n";
}

// Foreign letters stay off the terminal.
std::string printable(const std::string& text) {
  std::string out;
  for (char c : text) out += c >= ' ' && c <= '~' ? c : '?';
  return out;
}

std::string digest_text(const DigestSet& digests) {
  const Digest* sha256 = find_digest(digests, HashAlgorithm::kSha256);
  return sha256 == nullptr ? "unknown" : "sha256:" + to_hex(sha256->bytes());
}

std::string version_text(const std::optional<Version>& version) {
  return version ? to_string(*version) : "unknown";
}

std::string started_text(const LaunchFacts& launch) {
  return line("kernel", digest_text(launch.kernel)) +
         line("initrd", launch.initrd ? digest_text(*launch.initrd) : "none") +
         line("command line", printable(launch.command_line)) +
         line("processors", std::to_string(launch.config.cpus)) +
         line("memory", std::to_string(launch.config.memory_bytes / kMiB) + " MiB");
}

std::string clock_text(const TpmClockInfo& clock) {
  return std::to_string(clock.clock_ms / 1000) + " s, " + std::to_string(clock.reset_count) +
         " resets, " + std::to_string(clock.restart_count) + " restarts" +
         (clock.safe ? "" : "; it may have been set back");
}

std::string partition_text(const AttestedPartition& partition,
                           const EvidenceExpectation& expectation) {
  const Claims& claims = partition.claims;
  std::string text = line("isolation", to_string(claims.isolation));
  text += line("debug", claims.debug ? "on" : "off");
  text += line("TPM's state", to_string(claims.tpm_state));
  text += line("monitor", version_text(claims.versions[Component::kMonitor]));
  text += line("host", to_string(partition.host));
  text += started_text(partition.launch);
  text += line("TPM's clock", clock_text(partition.quote.clock));
  const auto& challenge = expectation.challenge;
  if (challenge && challenge->requester_key) {
    text += line("made for key", encode_base64(Base64::kUrl, *challenge->requester_key));
  }
  return text;
}

}  // namespace

std::string verdict_text(const EvidenceVerdict& verdict, const EvidenceExpectation& expectation) {
  std::string text;
  for (const Finding& finding : verdict.report.findings()) text += to_line(finding) + "\n";
  if (const Finding* refusal = verdict.report.refusal()) {
    return text + "REFUSED: " + to_string(refusal->check) + ": " + refusal_text(refusal->check) +
           "\n";
  }
  if (!verdict.report.accepted() || !verdict.partition) return text + "REFUSED\n";
  text += expectation.challenge
              ? "ACCEPTED\n"
              : "ACCEPTED, but without a nonce of yours it may be a replay: --nonce\n";
  return text + partition_text(*verdict.partition, expectation);
}

}  // namespace bulkhead::cli
