// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/result.h"
#include "mem/guest_memory.h"
#include "vmm/spec_lines.h"

// What `bulkhead` hands to `bulkhead-vmm`: every file is an open descriptor, every choice is made.
// Written as key=value lines into a memfd (docs/formats/launch-spec.md), named by --spec-fd.
// Descriptor numbers are plain ints here: the process that reads the specification owns them all,
// and its main() turns each into an Fd as it builds the device.

namespace bulkhead {

inline constexpr unsigned kMaxCpus = 16;
inline constexpr std::size_t kMaxDisks = 8;
inline constexpr std::size_t kMaxNets = 4;
inline constexpr unsigned kMaxQueues = 16;
inline constexpr unsigned kMinMtu = 68;     // the least that IPv4 allows, RFC 791
inline constexpr unsigned kMaxMtu = 65521;  // with the Ethernet header, at most 65535 bytes a frame
inline constexpr std::uint64_t kMemoryUnit = 2 * kMiB;
inline constexpr std::uint64_t kMinMemoryBytes = GuestMemory::kMinSize;
inline constexpr std::uint64_t kMaxMemoryBytes = GuestMemory::kMaxSize;
inline constexpr std::uint64_t kMinResidentBytes = 16 * kMiB;
inline constexpr std::size_t kMaxSocketPath = 107;    // sun_path less its NUL
inline constexpr std::size_t kMaxCommandLine = 2047;  // COMMAND_LINE_SIZE less the terminating NUL
inline constexpr std::size_t kMaxName = 63;
inline constexpr std::size_t kMaxDiskSerial = 20;  // VIRTIO_BLK_ID_BYTES, virtio 1.2 §5.2.6
// sun_path less its NUL and less "_4294967295", which a guest-opened connection's path ends in.
inline constexpr std::size_t kMaxVsockPath = 107 - 11;
inline constexpr std::size_t kMaxSpecBytes = 32 * kKiB;

using MemoryBacking = Backing;
enum class KernelKind : std::uint8_t { kBzImage, kElfPvh, kUnpacked };
enum class NetKind : std::uint8_t { kTap, kStream };
// Who owns the frames of guest memory: the host's pool, kept by bulkheadd, or this partition alone.
enum class FrameKeeper : std::uint8_t { kPrivate, kDaemon };
// What counts the versions of a TPM's lasting state: the host's TPM, a file alone, or the host's
// TPM where there is one.
enum class StateCounter : std::uint8_t { kAuto, kHost, kFile };
enum class OnReboot : std::uint8_t { kRestart, kExit };

using MacAddress = std::array<std::uint8_t, 6>;

struct DiskSpec {
  int fd = -1;
  bool read_only = false;
  bool discard = true;
  unsigned queues = 1;
  std::string serial;

  bool operator==(const DiskSpec&) const = default;
};

struct NetSpec {
  NetKind kind = NetKind::kTap;
  // kTap: /dev/net/tun attached, IFF_VNET_HDR with a 12-byte header.
  // kStream: a connected SOCK_STREAM socket; each frame after its length, 4 bytes big-endian.
  int fd = -1;
  MacAddress mac{};
  unsigned mtu = 1500;

  bool operator==(const NetSpec&) const = default;
};

struct VsockSpec {
  std::uint32_t cid = 3;
  std::string socket_path;  // absolute; nothing exists there yet

  bool operator==(const VsockSpec&) const = default;
};

struct ConsoleSpec {
  int in_fd = -1;   // -1: no input
  int out_fd = -1;  // -1: no output
  int log_fd = -1;  // regular file in the runtime directory, bounded by ConsoleHub; -1: none
  // Reading end of a non-blocking pipe that is our own standard error: its lines go to the log, so
  // that a detached partition's messages are kept, and bounded. -1: standard error is elsewhere.
  int messages_fd = -1;
  bool escapes = false;  // Ctrl-A commands are recognised in the input: it is a terminal

  bool operator==(const ConsoleSpec&) const = default;
};

// How memory is sealed that is not in use.
struct SealSpec {
  std::uint64_t resident_bytes = 0;  // at most this much is plaintext at a time; 0: all may be
  int key_fd = -1;                   // a key file; -1: a random key that dies with the partition
  int store_fd = -1;      // regular file for sealed pages, ours alone; -1: they stay in RAM
  bool compress = false;  // before encryption: docs/formats/sealed.md says what leaks

  bool operator==(const SealSpec&) const = default;
};

// A TPM in a process of its own.
struct TpmSpec {
  int program_fd = -1;  // of bulkhead-vtpm
  int state_fd = -1;    // regular file, its sealed state; -1: it ends with the partition
  int counter_fd = -1;  // regular file that tells the newest state; with state_fd only
  StateCounter counter_in = StateCounter::kAuto;
  std::string certifier;  // absolute path of bulkheadd's socket; empty: nobody certifies, or counts

  bool operator==(const TpmSpec&) const = default;
};

struct LaunchSpec {
  std::string name;
  std::string runtime_dir;  // absolute path of this partition's directory
  int runtime_fd = -1;      // the same directory; its flock(2) says that the partition lives
  int control_fd = -1;      // listening Unix socket, control.sock in the runtime directory
  int ready_fd = -1;  // one byte goes here once vCPUs run, then it is closed; -1: nobody waits

  std::uint64_t memory_bytes = 256 * kMiB;
  MemoryBacking backing = MemoryBacking::kMemfd;
  bool lock_memory = false;
  std::uint64_t max_memory_bytes = 0;  // it can grow to this; 0: it cannot grow
  FrameKeeper frames = FrameKeeper::kPrivate;
  std::string daemon_socket;  // kDaemon: absolute path of bulkheadd's socket
  int numa_node = -1;         // kDaemon: of the frames; -1: any
  SealSpec seal;
  unsigned cpus = 1;

  KernelKind kernel_kind = KernelKind::kBzImage;
  int kernel_fd = -1;
  int initrd_fd = -1;  // -1: none
  std::string command_line;

  std::vector<DiskSpec> disks;
  std::vector<NetSpec> nets;
  std::optional<VsockSpec> vsock;
  std::optional<TpmSpec> tpm;  // its state is sealed with a key derived from seal.key_fd's
  bool rng = true;
  bool balloon = true;  // with free-page reporting
  ConsoleSpec console;

  OnReboot on_reboot = OnReboot::kRestart;
  LogLevel log_level = LogLevel::kWarning;
  unsigned watchdog_ms = 0;        // a vCPU that stays in KVM_RUN longer is interrupted; 0: off
  std::vector<std::string> debug;  // each one of kDebugKnobs

  bool operator==(const LaunchSpec&) const = default;
  bool has_debug(std::string_view knob) const;
};

// Knobs for tests and measurements. A name that is not listed here is refused.
inline constexpr std::string_view kDebugKnobs[] = {
    "exit-stats",  // print VM exits by reason to standard error when the partition ends
};

// What a partition's runtime directory may hold.
inline constexpr const char* kRuntimeFiles[] = {"control.sock", "console.log", "pid"};

// Letters, digits, "-", "_" and "."; neither "-" nor "." first.
bool is_valid_partition_name(std::string_view name);
bool is_debug_knob(std::string_view name);

std::string serialize(const LaunchSpec& spec);

// A whole, consistent specification, or why not. Descriptors are not looked at.
std::optional<LaunchSpec> parse_launch_spec(std::string_view text, SpecError& error);
// Whether every descriptor named is open in this process, and none is named twice.
bool check_descriptors(const LaunchSpec& spec, SpecError& error);

// All descriptors that the specification names, to be kept open across exec.
std::vector<int> descriptors(const LaunchSpec& spec);

// A memfd, close-on-exec, holding the text; and the text of such a descriptor, at most
// kMaxSpecBytes.
Result<Fd> write_spec_fd(const LaunchSpec& spec);
Result<std::string> read_spec_fd(int fd);

// Removes what the partition leaves in its runtime directory, and the directory. Best effort: what
// stays behind is recognised as dead by its lock, and removed by the next `bulkhead` command.
void remove_runtime_files(const LaunchSpec& spec);

}  // namespace bulkhead
