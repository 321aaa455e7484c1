// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/isolation.h"
#include "base/result.h"
#include "crypto/digest.h"

// Texts that are measured: docs/measured-boot.md. Each has exactly one form, so that whoever knows
// the values knows the digest, and whoever reads the text knows the values.

namespace bulkhead {

inline constexpr std::size_t kMaxMeasuredText = 8 * 1024;
inline constexpr std::size_t kMaxMeasuredString = 128;  // printable ASCII
inline constexpr std::size_t kMaxMeasuredItems = 16;

// A file of ours that runs for the partition, by its content.
struct MeasuredProgram {
  std::string name;  // of letters, digits and "-"
  Sha256Digest digest{};

  bool operator==(const MeasuredProgram&) const = default;
};

// What the monitor is: the same for every partition that one build runs.
struct MonitorIdentity {
  std::string version;
  std::vector<MeasuredProgram> programs;  // ascending by name, each once

  bool operator==(const MonitorIdentity&) const = default;
};

struct MeasuredDisk {
  enum class Kind : std::uint8_t {
    kPlain,   // identity: its serial. A name: what the disk holds is not measured
    kSealed,  // identity: of the sealed store. Only who has its key can have written it
  };

  Kind kind = Kind::kPlain;
  bool read_only = false;
  std::string identity;

  bool operator==(const MeasuredDisk&) const = default;
};

// What becomes of the TPM's state, and what keeps an older one from being put back.
enum class TpmState : std::uint8_t {
  kTransient,    // it ends with the partition
  kHostCounter,  // it lasts, and a counter in the host's TPM tells the newest
  kFileCounter,  // it lasts, and a file tells the newest: who puts back both is not noticed
};
const char* to_string(TpmState state);  // "host-counter"

// What the monitor was told to build around the kernel. Names, paths and addresses that the
// operator chooses freely, and that change nothing about what is isolated, are left out.
struct MeasuredConfig {
  Isolation isolation = Isolation::kMemfd;  // kNone cannot be measured
  bool debug = false;  // a knob is on that lets the host look into the partition
  unsigned cpus = 1;
  std::uint64_t memory_bytes = 0;
  std::uint64_t max_memory_bytes = 0;  // it can grow to this; 0: it cannot grow
  bool lock_memory = false;
  std::uint64_t resident_bytes = 0;  // of memory that is plaintext at a time; 0: all may be
  bool compress = false;             // before it is sealed
  bool rng = false;
  bool balloon = false;
  bool vsock = false;
  unsigned nets = 0;
  TpmState tpm_state = TpmState::kTransient;
  std::vector<MeasuredDisk> disks;

  bool operator==(const MeasuredConfig&) const = default;
};

// kInvalidArgument if a string, a count or the programs' order does not fit the form.
Result<std::string> to_text(const MonitorIdentity& identity);
Result<std::string> to_text(const MeasuredConfig& config);

// kMalformed unless the text is exactly what to_text() makes of what is returned.
Result<MonitorIdentity> parse_monitor_identity(std::string_view text);
Result<MeasuredConfig> parse_measured_config(std::string_view text);

}  // namespace bulkhead
