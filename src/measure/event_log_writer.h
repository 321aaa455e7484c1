// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/result.h"
#include "measure/event_log.h"

namespace bulkhead {

// PC Client firmware offers at least this much to its operating system (PFP §10.3, LAML).
inline constexpr std::size_t kEventLogAreaBytes = 64 * kKiB;

// Writes a crypto-agile log into an area of fixed length, as ACPI's TPM2 table points to it: zeros
// behind the log say where it ends.
class EventLogWriter {
 public:
  // Linux stops at an event of type 0 without data, and takes an event that ends where the area
  // ends for cut off (drivers/char/tpm/eventlog/tpm2.c): so much of the area always stays zero.
  static constexpr std::size_t kEndBytes = 16;

  struct Options {
    std::size_t area_bytes = kEventLogAreaBytes;
    std::span<const HashAlgorithm> banks;  // SHA-256 and SHA-384, or one of them
  };

  static Result<EventLogWriter> create(const Options& options);

  // The event has one digest for each bank, in the banks' order. kExhausted if it does not fit:
  // nothing of it is written then.
  Result<void> append(const LogEvent& event);

  std::span<const std::byte> log() const { return std::span(area_).first(used_); }
  std::span<const std::byte> area() const { return area_; }

 private:
  explicit EventLogWriter(const Options& options)
      : area_(options.area_bytes), banks_(options.banks.begin(), options.banks.end()) {}
  Result<void> write_header();
  Result<void> add(std::span<const std::byte> bytes);

  std::vector<std::byte> area_;
  std::size_t used_ = 0;
  std::vector<HashAlgorithm> banks_;
};

}  // namespace bulkhead
