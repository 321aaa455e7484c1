// SPDX-License-Identifier: Apache-2.0
#include "attest/event_log_judge.h"

#include <algorithm>

namespace bulkhead {
namespace {

// PCR 10 and above are extended by the guest, which has logs of its own.
constexpr unsigned kMonitorsPcrs = index_of(kInitrdPcr) + 1;

// What the log says that a PCR holds; null if it does not have the bank.
const Digest* replayed(const std::vector<PcrBank>& banks, PcrId pcr) {
  const auto bank = std::ranges::find(banks, pcr.bank,
                                      [](const PcrBank& one) { return to_tpm(one.algorithm()); });
  return bank == banks.end() ? nullptr : &bank->values()[pcr.index];
}

struct Comparison {
  unsigned equal = 0;
  std::string seen;    // what differs, by the quote
  std::string wanted;  // and by the log
};

Comparison compare(const std::vector<PcrBank>& banks, const PcrValues& quoted) {
  Comparison result;
  for (const auto& [pcr, value] : quoted.all()) {
    if (pcr.index >= kMonitorsPcrs) continue;
    const Digest* replay = replayed(banks, pcr);
    if (replay != nullptr && std::ranges::equal(replay->bytes(), value)) {
      ++result.equal;
      continue;
    }
    const std::string name = (result.seen.empty() ? "" : ", ") + to_string(pcr) + " = ";
    result.seen += name + to_hex(value);
    result.wanted += name + (replay == nullptr ? "not in the log" : to_hex(replay->bytes()));
  }
  return result;
}

// The banks of which there is something to compare.
std::vector<HashAlgorithm> banks_of(const PcrValues& quoted) {
  std::vector<HashAlgorithm> banks;
  for (const auto& [pcr, value] : quoted.all()) {
    const auto bank = from_tpm(pcr.bank);
    if (bank && std::ranges::find(banks, *bank) == banks.end()) banks.push_back(*bank);
  }
  return banks;
}

void judge_replay(Report& report, const Result<EventLog>& log, const PcrValues& quoted) {
  const auto banks =
      log ? log->replay(banks_of(quoted)) : Result<std::vector<PcrBank>>(log.error());
  if (!banks) {
    report.judge(Check::kEventLog, false, banks.error().what, "a log that can be replayed");
    return;
  }
  const Comparison result = compare(*banks, quoted);
  if (result.seen.empty()) {
    report.judge(Check::kEventLog, true, std::to_string(result.equal) + " values as quoted",
                 "what the quote has of PCR 0 to 9");
    return;
  }
  report.judge(Check::kEventLog, false, "in the quote " + result.seen,
               "as the log replays " + result.wanted);
}

}  // namespace

std::optional<LaunchFacts> judge_event_log(Report& report, std::span<const std::byte> log,
                                           const PcrValues& quoted) {
  const auto parsed = EventLog::parse(log);
  judge_replay(report, parsed, quoted);
  if (!parsed) {
    report.not_reached(Check::kLaunch);
    return std::nullopt;
  }
  auto facts = read_launch(parsed->events());
  report.judge(Check::kLaunch, facts.has_value(), facts ? "as documented" : facts.error().what,
               "the events of one start, whole and in order");
  if (!facts) return std::nullopt;
  return std::move(*facts);
}

}  // namespace bulkhead
