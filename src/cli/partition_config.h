// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/run_options.h"
#include "vmm/launch_spec.h"

namespace bulkhead::cli {

// What the user wants, understood: types instead of words. No file has been looked at yet.
struct DiskRequest {
  std::string path;
  bool read_only = false;
  bool discard = true;
  unsigned queues = 1;
  std::string serial;

  bool operator==(const DiskRequest&) const = default;
};

struct NetRequest {
  NetKind kind = NetKind::kTap;
  std::string tap;                        // kTap: the interface
  std::vector<std::string> tcp_forwards;  // kStream: passt's --tcp-ports
  bool host_loopback = false;  // kStream: the gateway's address leads to the host's 127.0.0.1
  std::optional<MacAddress> mac;

  bool operator==(const NetRequest&) const = default;
};

// Whose frames a partition takes: bulkheadd's where it runs, or those of one keeper.
enum class FrameChoice : std::uint8_t { kAuto, kDaemon, kPrivate };

struct SealRequest {
  std::uint64_t resident_bytes = 0;  // 0: no limit
  std::string key_file;              // empty: a random key
  std::string sealed_dir;            // empty: sealed pages stay in RAM
  bool compress = false;

  bool operator==(const SealRequest&) const = default;
};

struct TpmRequest {
  std::string state_file;    // empty: it ends with the partition
  std::string counter_file;  // with a state file, always
  StateCounter counter_in = StateCounter::kAuto;

  bool operator==(const TpmRequest&) const = default;
};

struct PartitionConfig {
  std::string kernel;
  std::string initrd;  // empty: none
  std::string name;    // empty: the first free one
  std::uint64_t memory_bytes = 256 * kMiB;
  unsigned cpus = 1;
  MemoryBacking backing = MemoryBacking::kMemfd;
  std::uint64_t max_memory_bytes = 0;  // 0: it cannot grow
  FrameChoice frames = FrameChoice::kAuto;
  int numa_node = -1;
  SealRequest seal;
  OnReboot on_reboot = OnReboot::kRestart;
  std::vector<DiskRequest> disks;
  std::vector<NetRequest> nets;
  std::optional<VsockSpec> vsock;
  std::optional<TpmRequest> tpm;
  std::string command_line;
  std::vector<std::string> debug;
  unsigned watchdog_ms = 0;
  bool lock_memory = false;
  bool unpack = true;
  bool balloon = true;
  bool rng = true;
  bool detach = false;
  bool verbose = false;
};

// All of these throw UsageError.
PartitionConfig understand(const RunOptions& options);
std::uint64_t parse_size(std::string_view option, std::string_view text);
DiskRequest parse_disk(const std::string& text);
std::optional<NetRequest> parse_net(const std::string& text);  // "none" is nullopt
VsockSpec parse_vsock(const std::string& text);
MacAddress parse_mac(std::string_view text);

}  // namespace bulkhead::cli
