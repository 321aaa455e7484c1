// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_reader.h"
#include "crypto/digest.h"
#include "measure/event_log_writer.h"

namespace bulkhead {

inline std::span<const std::byte> text_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}
inline std::vector<std::byte> text_vector(std::string_view text) {
  return {text_bytes(text).begin(), text_bytes(text).end()};
}

// Little-endian fields in a row: for logs that our writer would not write.
class LogBytes {
 public:
  template <std::unsigned_integral T>
  LogBytes& add(T value) {
    bytes_.resize(bytes_.size() + sizeof value);
    put_le(std::span(bytes_), bytes_.size() - sizeof value, value);
    return *this;
  }
  LogBytes& add(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  LogBytes& add_zeros(std::size_t count) {
    bytes_.resize(bytes_.size() + count);
    return *this;
  }
  // A TCG_PCClientPCREvent.
  LogBytes& add_sha1_event(std::uint32_t pcr, EventType type, std::string_view data) {
    const Digest digest = type == EventType::kNoAction
                              ? Digest(HashAlgorithm::kSha1)
                              : Hash::of(HashAlgorithm::kSha1, {text_bytes(data)}).value();
    add(pcr).add(static_cast<std::uint32_t>(type)).add(digest.bytes());
    return add(static_cast<std::uint32_t>(data.size())).add(text_bytes(data));
  }
  std::span<const std::byte> bytes() const { return bytes_; }
  std::vector<std::byte>& vector() { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

inline std::vector<std::byte> log_of(std::span<const LogEvent> events,
                                     std::span<const HashAlgorithm> banks = kMeasuredBanks) {
  EventLogWriter writer = EventLogWriter::create({.banks = banks}).value();
  for (const LogEvent& event : events) writer.append(event).value();
  return {writer.log().begin(), writer.log().end()};
}

inline LogEvent event_of(unsigned pcr, EventType type, std::string_view data,
                         std::span<const HashAlgorithm> banks = kMeasuredBanks) {
  return {static_cast<Pcr>(pcr), type, MultiHash::of(banks, text_bytes(data)).value(),
          text_vector(data)};
}

// Hash, PCR and value in digits, as tpm2_eventlog prints them below "pcrs:".
using PrintedPcrs = std::map<std::pair<std::string, unsigned>, std::string>;

inline PrintedPcrs read_pcr_values(std::istream& yaml) {
  PrintedPcrs values;
  std::string line;
  std::string hash;
  while (std::getline(yaml, line) && line != "pcrs:") {
  }
  while (std::getline(yaml, line)) {
    const std::size_t value = line.find(": 0x");
    if (line.starts_with("  sha")) {
      hash = line.substr(2, line.size() - 3);
    } else if (value != std::string::npos) {
      const auto pcr = static_cast<unsigned>(std::stoul(line));
      values[{hash, pcr}] = line.substr(value + 4, line.find_first_of(" \r", value + 4));
    }
  }
  return values;
}

// The same PCRs of ours.
inline PrintedPcrs pcr_values(std::span<const PcrBank> banks, const PrintedPcrs& wanted) {
  PrintedPcrs values;
  for (const PcrBank& bank : banks) {
    for (unsigned pcr = 0; pcr < kPcrCount; ++pcr) {
      const auto key = std::pair(std::string(to_string(bank.algorithm())), pcr);
      if (wanted.contains(key)) values[key] = to_hex(bank.values()[pcr].bytes());
    }
  }
  return values;
}

}  // namespace bulkhead
