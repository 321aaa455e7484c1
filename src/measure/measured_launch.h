// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "measure/event_log.h"
#include "measure/measured_text.h"
#include "measure/pcr_bank.h"

// What the monitor measures before the first guest instruction, as data. The monitor extends it
// into the vTPM, and `bulkhead measure` predicts from it: one function, so that they cannot differ.
// docs/measured-boot.md says what is in which PCR, and why.

namespace bulkhead {

inline constexpr Pcr kMonitorPcr{0};
inline constexpr Pcr kConfigPcr{1};
inline constexpr Pcr kKernelPcr{4};
inline constexpr Pcr kCommandLinePcr{8};
inline constexpr Pcr kInitrdPcr{9};
inline constexpr unsigned kSeparatorPcrs = 8;  // PCR 0 to 7 end the monitor's own part

inline constexpr std::size_t kMaxMeasuredCommandLine = 32 * kKiB;

// taggedEventID of EV_EVENT_TAG: "BK" and a number.
enum class EventTag : std::uint32_t { kAcpiTables = 0x424b0001, kKernel = 0x424b0002 };

// The digests are in the banks' order: of the bytes as they are put into guest memory or as they
// lie in the file that they are loaded from.
struct LaunchFacts {
  MonitorIdentity monitor;
  MeasuredConfig config;
  DigestSet acpi_tables;
  DigestSet kernel;
  std::optional<DigestSet> initrd;
  std::string command_line;

  bool operator==(const LaunchFacts&) const = default;
};

// The events in their order. kInvalidArgument if a fact cannot be expressed, or lacks a digest.
Result<std::vector<LogEvent>> measure_launch(const LaunchFacts& facts,
                                             std::span<const HashAlgorithm> banks = kMeasuredBanks);

// The inverse: what such events say. kMalformed unless they are exactly what measure_launch() makes
// of what is returned. They are the truth only if a TPM has signed the PCR values that they replay
// to.
Result<LaunchFacts> read_launch(std::span<const LogEvent> events,
                                std::span<const HashAlgorithm> banks = kMeasuredBanks);

// What PCRs of a TPM that was started at locality 0 hold after these events.
Result<std::vector<PcrBank>> predict_pcrs(std::span<const LogEvent> events,
                                          std::span<const HashAlgorithm> banks = kMeasuredBanks);

}  // namespace bulkhead
