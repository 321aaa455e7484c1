// SPDX-License-Identifier: Apache-2.0
// An event log of hostile bytes: a log, or an error. What is accepted accounts for every byte,
// replays or says why not, and a log of our own form is written again as it was.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/check.h"
#include "measure/event_log_writer.h"
#include "measure/measured_launch.h"
#include "measure/measured_text.h"

namespace bulkhead {
namespace {

// What an event takes in a log: PFP §10.2.1 and §10.2.2. Digests that were passed over count zero.
std::size_t least_bytes(const EventLog& log, const LogEvent& event) {
  std::size_t bytes = 4 + 4 + 4 + event.data.size();
  if (log.format() == EventLog::Format::kSha1) return bytes + event.digests[0].bytes().size();
  for (const Digest& digest : event.digests) bytes += 2 + digest.bytes().size();
  return bytes + 4;
}

void check_size(const EventLog& log, std::size_t size) {
  std::size_t needed = 0;
  for (const LogEvent& event : log.events()) needed += least_bytes(log, event);
  CHECK(needed <= size);
  CHECK(log.format() == EventLog::Format::kCryptoAgile || needed == size);
}

void check_replay(const EventLog& log) {
  const auto banks = log.replay();
  if (!banks) {
    CHECK(banks.error().code == Errc::kMalformed);
    return;
  }
  CHECK(!banks->empty());
  for (const PcrBank& bank : *banks) {
    CHECK(std::ranges::find(log.algorithms(), bank.algorithm()) != log.algorithms().end());
  }
}

// Written by us, the events read the same.
void check_writing(const EventLog& log) {
  auto writer =
      EventLogWriter::create({.area_bytes = kMaxEventLogBytes, .banks = log.algorithms()});
  if (log.format() != EventLog::Format::kCryptoAgile || !writer) return;
  for (const LogEvent& event : log.events()) {
    if (!writer->append(event)) return;
  }
  const auto again = EventLog::parse(writer->log());
  CHECK(again && again->events() == log.events());
}

void check_texts(const EventLog& log) {
  for (const LogEvent& event : log.events()) {
    const std::string_view text(
        static_cast<const char*>(static_cast<const void*>(event.data.data())), event.data.size());
    if (const auto config = parse_measured_config(text)) CHECK(*to_text(*config) == text);
    if (const auto monitor = parse_monitor_identity(text)) CHECK(*to_text(*monitor) == text);
  }
}

void check_launch(const EventLog& log) {
  const auto facts = read_launch(log.events(), log.algorithms());
  if (facts) CHECK(*measure_launch(*facts, log.algorithms()) == log.events());
}

}  // namespace
}  // namespace bulkhead

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bulkhead;
  const auto log = EventLog::parse(std::as_bytes(std::span(data, size)));
  if (!log) return 0;
  check_size(*log, size);
  check_replay(*log);
  check_writing(*log);
  check_texts(*log);
  check_launch(*log);
  return 0;
}
