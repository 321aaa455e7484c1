// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "measure/pcr_bank.h"

// The log of what was extended into PCRs: docs/formats/event-log.md. References are to the TCG "PC
// Client Platform Firmware Profile" (PFP) 1.05.

namespace bulkhead {

// PFP §10.4.1. A log may hold any other number too: it is kept, and extended like the rest.
enum class EventType : std::uint32_t {
  kPrebootCert = 0x0,
  kPostCode = 0x1,
  kNoAction = 0x3,  // logged only, never extended
  kSeparator = 0x4,
  kAction = 0x5,
  kEventTag = 0x6,
  kSCrtmContents = 0x7,
  kSCrtmVersion = 0x8,
  kPlatformConfigFlags = 0xa,
  kTableOfDevices = 0xb,
  kIpl = 0xd,
  kEfiHcrtmEvent = 0x80000010,  // hashed before TPM2_Startup
};

struct LogEvent {
  Pcr pcr{};
  EventType type{};
  DigestSet digests;
  std::vector<std::byte> data;  // says what was measured; the digests need not be of it

  bool operator==(const LogEvent&) const = default;
};

// TCG_EfiSpecIDEvent and TCG_EfiStartupLocalityEvent begin with these 16 bytes.
inline constexpr std::string_view kSpecIdSignature{"Spec ID Event03\0", 16};
inline constexpr std::string_view kStartupLocalitySignature{"StartupLocality\0", 16};

// More than any firmware's log (64 KiB is customary), and what bounds the work of a reader.
inline constexpr std::size_t kMaxEventLogBytes = 1 * kMiB;
// SHA-1, SHA-2 and SM3 are five; room for a few that are to come.
inline constexpr std::size_t kMaxLogAlgorithms = 8;

// The EV_NO_ACTION event by which a log tells from which locality the TPM was started. Its digests
// are zeros, one for each of the banks.
LogEvent startup_locality_event(StartupLocality locality, std::span<const HashAlgorithm> banks);

// Extends what events extend. kInvalidArgument if one has no digest of the bank's algorithm.
Result<void> replay_into(PcrBank& bank, std::span<const LogEvent> events);

// A log that was read whole, and is well-formed. That says nothing of where it comes from: compare
// what it replays to with PCR values that a TPM has signed.
class EventLog {
 public:
  enum class Format : std::uint8_t {
    kSha1,         // TCG_PCClientPCREvent throughout, as for TPM 1.2
    kCryptoAgile,  // TCG_PCR_EVENT2 after a header in the old form
  };

  // kTruncated, kMalformed, or kUnsupported. Every byte belongs to an event: the caller cuts off
  // what lies behind the log in its area.
  static Result<EventLog> parse(std::span<const std::byte> bytes);

  Format format() const { return format_; }
  // In the order in which the header names them. Hashes that we do not compute are left out, here
  // and of the events.
  const std::vector<HashAlgorithm>& algorithms() const { return algorithms_; }
  // Without the header.
  const std::vector<LogEvent>& events() const { return events_; }

  Result<StartupLocality> startup_locality() const;
  // One bank for each algorithm of which every event has a digest: of another, nothing can be said.
  // kMalformed if events were extended, and there is no such bank.
  Result<std::vector<PcrBank>> replay() const;
  // The same of these algorithms only.
  Result<std::vector<PcrBank>> replay(std::span<const HashAlgorithm> wanted) const;

 private:
  class Parser;

  EventLog() = default;
  bool is_complete(HashAlgorithm algorithm) const;

  Format format_ = Format::kSha1;
  std::vector<HashAlgorithm> algorithms_;
  std::vector<LogEvent> events_;
};

}  // namespace bulkhead
