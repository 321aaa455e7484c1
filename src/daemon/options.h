// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "hostca/state_directory.h"
#include "mem/frame_source.h"

namespace bulkhead::daemon {

// The user asked for something impossible; the text says what, and what would be right.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct PoolOption {
  Backing backing = Backing::kMemfd;
  std::uint64_t size_bytes = 0;
  std::optional<unsigned> numa_node;
  std::string carved;  // SIZE@ADDRESS, for CarvedRange::parse
};

// Whose partitions get certificates for their TPMs.
enum class CertifyFor : std::uint8_t { kNobody, kRoot, kGroup };

struct DaemonOptions {
  std::vector<PoolOption> pools;
  std::uint64_t per_user_bytes = ~std::uint64_t{0};
  std::string runtime_dir = "/run/bulkheadd";
  std::string group;  // empty: the default one
  CertifyFor certify = CertifyFor::kRoot;
  std::string host_state = hostca::StateDirectory::kDefaultPath;
  std::string tpm;  // where tpm2-tss finds the host's TPM; empty: its own choice
};

// KIND:SIZE[@NODE] or carved:SIZE@ADDRESS. Throws UsageError.
PoolOption parse_pool(const std::string& text);
// A multiple of 2 MiB, as 512M or 4G. Throws UsageError.
std::uint64_t parse_frames_size(const std::string& option, const std::string& text);

inline constexpr const char* kDefaultGroup = "kvm";
// The group's number; nothing when there is no such group.
using GroupLookup = std::function<std::optional<gid_t>(const std::string&)>;
// Who may connect besides root; nothing: nobody. So it is without the default group, and with
// "none". Throws UsageError when the group that was named does not exist.
std::optional<gid_t> group_of(const DaemonOptions& options, const GroupLookup& lookup);

// Nothing when --help or --version was asked for, and is printed. Throws UsageError.
std::optional<DaemonOptions> parse_options(int argc, char** argv);

}  // namespace bulkhead::daemon
