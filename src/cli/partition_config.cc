// SPDX-License-Identifier: Apache-2.0
#include "cli/partition_config.h"

#include <algorithm>
#include <sstream>

#include "cli/error.h"
#include "cli/option_values.h"

namespace bulkhead::cli {
namespace {

// hvc0 costs the fewest exits. A panic must end the partition and be told from a reboot: the kernel
// then writes 0x1234 to physical 0x472, which the monitor looks at (arch/x86/kernel/reboot.c).
// noapic: the three interrupts that are not MSI-X come by the 8259s, which saves Linux the set-up
// of 24 I/O APIC pins: 900 exits.
constexpr std::string_view kDefaultParameters = "console=hvc0 noapic reboot=panic_warm panic=-1";

bool has_parameter(const std::string& command_line, std::string_view prefix) {
  std::istringstream words(command_line);
  for (std::string word; words >> word;) {
    if (word.starts_with(prefix)) return true;
  }
  return false;
}

// A kernel without an initrd needs to be told its root; with one disk there is no doubt.
std::string root_parameter(const PartitionConfig& config, const std::string& text) {
  if (config.disks.size() != 1 || !config.initrd.empty() || has_parameter(text, "root=")) return "";
  return config.disks[0].read_only ? " root=/dev/vda ro" : " root=/dev/vda rw";
}

// Memory that comes later must be able to go again: in the kernel's movable zone nothing stays that
// cannot be moved away.
std::string growth_parameter(const PartitionConfig& config, const std::string& text) {
  if (config.max_memory_bytes == 0 || has_parameter(text, "memhp_default_state=")) return "";
  return " memhp_default_state=online_movable";
}

std::string make_command_line(const PartitionConfig& config, const RunOptions& options) {
  const std::string text = options.cmdline.value_or("");
  if (std::any_of(text.begin(), text.end(),
                  [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; })) {
    throw UsageError("--cmdline contains a control character; put all parameters on one line");
  }
  std::string line = text;
  if (!options.cmdline_raw) {
    line = std::string(kDefaultParameters) + root_parameter(config, text) +
           growth_parameter(config, text);
    if (!text.empty()) line += " " + text;
  }
  if (line.size() > kMaxCommandLine) {
    throw UsageError("the kernel command line is " + std::to_string(line.size()) +
                     " bytes long, the kernel takes " + std::to_string(kMaxCommandLine) +
                     "; shorten --cmdline");
  }
  return line;
}

std::uint64_t checked_memory(const std::string& text) {
  const std::uint64_t bytes = parse_size("--memory", text);
  if (bytes < kMinMemoryBytes) {
    throw UsageError("--memory " + text + " is too little; a partition needs at least 64M");
  }
  if (bytes > kMaxMemoryBytes) {
    throw UsageError("--memory " + text + " is too much; a partition has at most 1024G");
  }
  if (bytes % kMemoryUnit != 0) {
    throw UsageError("--memory " + text + " is not a multiple of 2 MiB; round it");
  }
  return bytes;
}

// Growth comes in whole units.
std::uint64_t checked_max_memory(const std::string& text, std::uint64_t memory_bytes) {
  const std::uint64_t bytes = parse_size("--max-memory", text);
  if (bytes <= memory_bytes) {
    throw UsageError("--max-memory " + text +
                     " is no more than --memory; raise it, or leave it out");
  }
  if (bytes > kMaxMemoryBytes) {
    throw UsageError("--max-memory " + text + " is too much; a partition has at most 1024G");
  }
  if ((bytes - memory_bytes) % kGrowthUnit != 0) {
    throw UsageError("--max-memory " + text + " is not --memory and whole steps of 128M; round it");
  }
  return bytes;
}

std::uint64_t checked_resident(const std::string& text) {
  const std::uint64_t bytes = parse_size("--resident", text);
  if (bytes < kMinResidentBytes) {
    throw UsageError("--resident " + text + " is too little; a partition needs at least 16M");
  }
  return align_down(bytes, kPageSize);
}

void set_memory(PartitionConfig& config, const RunOptions& options) {
  if (options.memory) config.memory_bytes = checked_memory(*options.memory);
  if (options.max_memory) {
    config.max_memory_bytes = checked_max_memory(*options.max_memory, config.memory_bytes);
  }
  if (options.backing) {
    config.backing = static_cast<MemoryBacking>(
        parse_choice("--backing", *options.backing, {"memfd", "hugetlb", "carved"}));
  }
  if (options.frames) {
    config.frames = static_cast<FrameChoice>(
        parse_choice("--frames", *options.frames, {"auto", "daemon", "private"}));
  }
  if (options.numa_node) {
    config.numa_node =
        static_cast<int>(parse_number<unsigned>("--numa-node", *options.numa_node, {0, 1023}));
  }
  config.lock_memory = options.lock_memory;
  const bool pooled = config.backing == MemoryBacking::kCarved || config.numa_node >= 0;
  if (pooled && config.frames == FrameChoice::kPrivate) {
    throw UsageError("--frames private has neither carved memory nor nodes; use --frames daemon");
  }
}

void set_sealing(PartitionConfig& config, const RunOptions& options) {
  config.seal.key_file = options.key_file.value_or("");
  config.seal.sealed_dir = options.sealed_dir.value_or("");
  config.seal.compress = options.seal_compress;
  if (!options.resident) return;
  config.seal.resident_bytes = checked_resident(*options.resident);
  if (config.backing != MemoryBacking::kMemfd) {
    throw UsageError("--resident needs --backing memfd: other memory cannot be taken page by page");
  }
  if (config.lock_memory) {
    throw UsageError("--resident and --lock-memory contradict each other; leave one out");
  }
}

void set_tpm(PartitionConfig& config, const RunOptions& options) {
  if ((options.tpm_counter || options.tpm_counter_in) && !options.tpm_state) {
    throw UsageError(std::string(options.tpm_counter ? "--tpm-counter" : "--tpm-counter-in") +
                     " needs --tpm-state: without one there is nothing to count");
  }
  if (!options.tpm && !options.tpm_state) return;
  config.tpm.emplace();
  if (!options.tpm_state) return;
  if (!options.key_file) {
    throw UsageError("--tpm-state needs --key-file: the state is sealed; make a key with " +
                     std::string("bulkhead key create"));
  }
  config.tpm->state_file = *options.tpm_state;
  config.tpm->counter_file = options.tpm_counter.value_or(*options.tpm_state + ".counter");
  if (options.tpm_counter_in) {
    config.tpm->counter_in = static_cast<StateCounter>(
        parse_choice("--tpm-counter-in", *options.tpm_counter_in, {"auto", "tpm", "file"}));
  }
  if (config.tpm->state_file == config.tpm->counter_file) {
    throw UsageError("--tpm-counter and --tpm-state name one file; name two");
  }
}

void check_name(const std::string& name) {
  if (is_valid_partition_name(name)) return;
  throw UsageError("'" + name +
                   "' is not a partition name; use 1 to 63 letters, digits, '-', '_' " +
                   "and '.', not beginning with '-' or '.'");
}

void set_devices(PartitionConfig& config, const RunOptions& options) {
  for (const std::string& disk : options.disks) config.disks.push_back(parse_disk(disk));
  for (const std::string& net : options.nets) {
    if (auto request = parse_net(net)) config.nets.push_back(std::move(*request));
  }
  if (options.vsock) config.vsock = parse_vsock(*options.vsock);
  if (config.disks.size() > kMaxDisks)
    throw UsageError("too many disks; a partition has at most 8");
  if (config.nets.size() > kMaxNets) {
    throw UsageError("too many network interfaces; a partition has at most 4");
  }
}

void set_debug(PartitionConfig& config, const RunOptions& options) {
  for (const std::string& knob : options.debug) {
    if (!is_debug_knob(knob)) {
      throw UsageError("--debug has no knob '" + knob + "'; see bulkhead run --help");
    }
    if (std::find(config.debug.begin(), config.debug.end(), knob) == config.debug.end()) {
      config.debug.push_back(knob);
    }
  }
}

}  // namespace

PartitionConfig understand(const RunOptions& options) {
  if (!options.kernel || options.kernel->empty()) {
    throw UsageError("no kernel given; name one with --kernel FILE (see bulkhead run --help)");
  }
  PartitionConfig config;
  config.kernel = *options.kernel;
  config.initrd = options.initrd.value_or("");
  config.name = options.name.value_or("");
  if (options.name) check_name(config.name);
  set_memory(config, options);
  set_sealing(config, options);
  set_tpm(config, options);
  if (options.cpus) config.cpus = parse_number<unsigned>("--cpus", *options.cpus, {1, kMaxCpus});
  if (options.on_reboot) {
    config.on_reboot =
        static_cast<OnReboot>(parse_choice("--on-reboot", *options.on_reboot, {"restart", "exit"}));
  }
  if (options.unpack) {
    config.unpack = parse_choice("--unpack", *options.unpack, {"auto", "never"}) == 0;
  }
  if (options.watchdog_ms) {
    config.watchdog_ms =
        parse_number<unsigned>("--watchdog-ms", *options.watchdog_ms, {0, 3600000});
  }
  set_devices(config, options);
  set_debug(config, options);
  config.balloon = !options.no_balloon;
  config.rng = !options.no_rng;
  config.detach = options.detach;
  config.verbose = options.verbose;
  config.command_line = make_command_line(config, options);
  return config;
}

}  // namespace bulkhead::cli
