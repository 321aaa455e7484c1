// SPDX-License-Identifier: Apache-2.0
#include "attest/certificate_judge.h"

#include <algorithm>

#include "attest/key_info.h"

namespace bulkhead {
namespace {

std::string name_of(std::size_t place) {
  return "certificate " + std::to_string(place + 1);
}

// Makes the checks of one chain, one function each, and writes them down.
class ChainJudge {
 public:
  ChainJudge(Report& report, const CertificateEvidence& evidence, const TrustStore& trust)
      : report_(report), evidence_(evidence), trust_(trust) {}

  std::optional<HostIdentity> judge(UtcTime now) {
    if (const auto facts = good_facts()) return judge_facts(*facts, now);
    return judge_long(now);
  }

 private:
  std::optional<ChainFacts> good_facts() const;
  HostIdentity judge_facts(const ChainFacts& facts, UtcTime now);
  std::optional<HostIdentity> judge_long(UtcTime now);
  void remember(const HostIdentity& host) const;

  void read();
  std::string role_faults() const;
  void find_root();
  void judge_chain();
  void judge_key(std::span<const std::byte> seen);
  void judge_time(std::span<const Validity> all, UtcTime now);
  std::vector<Validity> validity() const;
  std::optional<HostIdentity> judge_host(const Result<HostIdentity>& identity);

  Report& report_;
  const CertificateEvidence& evidence_;
  const TrustStore& trust_;
  const Bytes key_info_ = subject_public_key_info(evidence_.key);
  std::vector<Certificate> chain_;
  std::optional<Validity> root_;
  std::string fault_;  // of the chain; empty while there is none
};

// Only of a chain of which nothing but the time is left to judge.
std::optional<ChainFacts> ChainJudge::good_facts() const {
  if (auto facts = trust_.known_facts_of(evidence_.chain)) {
    if (facts->key_info == key_info_) return facts;
  } else if (evidence_.key_has_signed) {
    facts = trust_.facts_of(evidence_.chain);
    if (!facts || facts->key_info != key_info_) return std::nullopt;
    trust_.remember(evidence_.chain, *facts);
    return facts;
  }
  return std::nullopt;
}

HostIdentity ChainJudge::judge_facts(const ChainFacts& facts, UtcTime now) {
  judge_chain();
  judge_key(facts.key_info);
  judge_time(facts.validity, now);
  judge_host(facts.host);
  return facts.host;
}

std::optional<HostIdentity> ChainJudge::judge_long(UtcTime now) {
  read();
  if (fault_.empty()) find_root();
  judge_chain();
  if (chain_.size() != evidence_.chain.size() || chain_.size() < kMinChain) {
    for (Check check : {Check::kCertificateKey, Check::kCertificateTime, Check::kHostIdentity}) {
      report_.not_reached(check);
    }
    return std::nullopt;
  }
  judge_key(chain_[0].subject_public_key_info());
  judge_time(validity(), now);
  const auto host = judge_host(chain_[1].host_identity());
  if (fault_.empty() && host) remember(*host);
  return host;
}

void ChainJudge::remember(const HostIdentity& host) const {
  trust_.remember(
      evidence_.chain,
      {.validity = validity(), .key_info = chain_[0].subject_public_key_info(), .host = host});
}

void ChainJudge::read() {
  const std::size_t count = evidence_.chain.size();
  if (count < kMinChain || count > kMaxChain) {
    fault_ = std::to_string(count) + " certificates";
    return;
  }
  for (const Bytes& der : evidence_.chain) {
    auto certificate = Certificate::parse(der);
    if (!certificate) {
      fault_ = name_of(chain_.size()) + ": " + certificate.error().what;
      return;
    }
    chain_.push_back(std::move(*certificate));
  }
  fault_ = role_faults();
}

std::string ChainJudge::role_faults() const {
  for (std::size_t i = 0; i < chain_.size(); ++i) {
    if (const char* fault = chain_[i].fault_as(role_at(i))) return name_of(i) + ": " + fault;
  }
  return {};
}

void ChainJudge::find_root() {
  const TrustStore::Path path = trust_.path_of(chain_);
  if (path.fault != nullptr) fault_ = path.fault;
  root_ = path.root;
}

void ChainJudge::judge_chain() {
  report_.judge(Check::kCertificateChain, fault_.empty(),
                fault_.empty()
                    ? std::to_string(evidence_.chain.size()) + " certificates up to a root of ours"
                    : fault_,
                "a chain from an attestation key to one of " + std::to_string(trust_.size()) +
                    " roots that we trust");
}

void ChainJudge::judge_key(std::span<const std::byte> seen) {
  const bool same = std::ranges::equal(seen, key_info_);
  report_.judge(Check::kCertificateKey, same, same ? "the attestation key" : "another key",
                "the attestation key");
}

std::vector<Validity> ChainJudge::validity() const {
  std::vector<Validity> all;
  all.reserve(chain_.size() + 1);
  for (const Certificate& certificate : chain_) all.push_back(certificate.validity());
  if (root_) all.push_back(*root_);
  return all;
}

void ChainJudge::judge_time(std::span<const Validity> all, UtcTime now) {
  const auto bad =
      std::ranges::find_if(all, [now](const Validity& one) { return !one.contains(now); });
  // The shortest of all, if all are good.
  const auto told =
      bad != all.end() ? bad : std::ranges::min_element(all, {}, &Validity::not_after);
  report_.judge(Check::kCertificateTime, bad == all.end(),
                name_of(static_cast<std::size_t>(told - all.begin())) + " from " +
                    to_string(told->not_before) + " to " + to_string(told->not_after),
                "all valid at " + to_string(now));
}

std::optional<HostIdentity> ChainJudge::judge_host(const Result<HostIdentity>& identity) {
  report_.judge(Check::kHostIdentity, identity.has_value(),
                identity ? to_string(*identity) : identity.error().what,
                "the partition CA's host: a TPM, or the CA's own key");
  if (!identity) return std::nullopt;
  return *identity;
}

}  // namespace

std::optional<HostIdentity> judge_certificates(Report& report, const CertificateEvidence& evidence,
                                               const TrustStore& trust, UtcTime now) {
  return ChainJudge(report, evidence, trust).judge(now);
}

}  // namespace bulkhead
