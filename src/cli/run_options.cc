// SPDX-License-Identifier: Apache-2.0
#include "cli/run_options.h"

#include <algorithm>
#include <numeric>

namespace bulkhead::cli {
namespace {

constexpr OptionInfo kTable[] = {
    {.key = "kernel",
     .placeholder = "FILE",
     .help = "Linux kernel: a bzImage, or an ELF vmlinux with a PVH entry (required)",
     .text = &RunOptions::kernel,
     .is_path = true},
    {.key = "initrd",
     .placeholder = "FILE",
     .help = "initial RAM disk",
     .text = &RunOptions::initrd,
     .is_path = true},
    {.key = "disk",
     .placeholder = "FILE[,ro][,queues=N][,serial=S][,no-discard]",
     .help = "raw disk image or block device; may be repeated: /dev/vda, /dev/vdb, ...",
     .list = &RunOptions::disks,
     .is_path = true},
    {.key = "memory",
     .placeholder = "SIZE",
     .help = "guest memory, with a unit: 512M, 4G (default 256M, at least 64M)",
     .text = &RunOptions::memory},
    {.key = "cpus",
     .placeholder = "N",
     .help = "virtual CPUs, 1 to 16 (default 1)",
     .text = &RunOptions::cpus,
     .is_number = true},
    {.key = "net",
     .placeholder = "tap=NAME|passt|none[,mac=M]",
     .help = "network interface; may be repeated (default none). passt needs no root, and takes "
             "tcp=HOST:GUEST to forward a port and host-loopback to let the guest reach 127.0.0.1",
     .list = &RunOptions::nets},
    {.key = "vsock",
     .placeholder = "PATH[,cid=N]",
     .help = "vsock device behind a Unix socket at PATH (default cid 3)",
     .text = &RunOptions::vsock,
     .is_path = true},
    {.key = "cmdline",
     .placeholder = "TEXT",
     .help = "kernel parameters, added to the default ones",
     .text = &RunOptions::cmdline},
    {.key = "cmdline-raw",
     .placeholder = "",
     .help = "use --cmdline alone, without the default parameters",
     .flag = &RunOptions::cmdline_raw},
    {.key = "name",
     .placeholder = "NAME",
     .help = "the partition's name, for ps, stop and console (default p1, p2, ...)",
     .text = &RunOptions::name},
    {.key = "detach",
     .placeholder = "",
     .help = "run in the background; print the name once the guest runs",
     .flag = &RunOptions::detach},
    {.key = "backing",
     .placeholder = "memfd|hugetlb|carved",
     .help = "where guest memory comes from (default memfd)",
     .text = &RunOptions::backing},
    {.key = "max-memory",
     .placeholder = "SIZE",
     .help = "let memory grow to this while it runs, in steps of 128M: see bulkhead resize",
     .text = &RunOptions::max_memory},
    {.key = "frames",
     .placeholder = "auto|daemon|private",
     .help = "who owns its memory's frames: bulkheadd for the whole host, or the partition alone "
             "(default auto: bulkheadd where it runs)",
     .text = &RunOptions::frames},
    {.key = "numa-node",
     .placeholder = "N",
     .help = "take frames of this node of the host (needs bulkheadd)",
     .text = &RunOptions::numa_node,
     .is_number = true},
    {.key = "resident",
     .placeholder = "SIZE",
     .help = "keep at most this much of guest memory as plaintext in RAM; the rest is sealed "
             "(default: all may be; at least 16M)",
     .text = &RunOptions::resident},
    {.key = "key-file",
     .placeholder = "FILE",
     .help = "seal with the key in FILE: see bulkhead key (default: a random key that ends with "
             "the partition)",
     .text = &RunOptions::key_file,
     .is_path = true},
    {.key = "sealed-dir",
     .placeholder = "DIR",
     .help = "keep sealed memory in a file without a name in DIR (default: in RAM)",
     .text = &RunOptions::sealed_dir,
     .is_path = true},
    {.key = "seal-compress",
     .placeholder = "",
     .help = "compress before sealing: saves space, but sizes then tell something about content",
     .flag = &RunOptions::seal_compress},
    {.key = "tpm",
     .placeholder = "",
     .help = "a TPM 2.0 of the partition's own, which ends with it",
     .flag = &RunOptions::tpm},
    {.key = "tpm-state",
     .placeholder = "FILE",
     .help = "a TPM 2.0 whose state lasts in FILE, sealed with the key of --key-file",
     .text = &RunOptions::tpm_state,
     .is_path = true},
    {.key = "tpm-counter",
     .placeholder = "FILE",
     .help = "what tells the TPM's newest state from an older one; best on another disk "
             "(default: the state's name and .counter)",
     .text = &RunOptions::tpm_counter,
     .is_path = true},
    {.key = "tpm-counter-in",
     .placeholder = "auto|tpm|file",
     .help = "what counts the TPM's states: the host's TPM, by bulkheadd (tpm), that file alone "
             "(file), or the TPM where there is one (default auto); the evidence says which",
     .text = &RunOptions::tpm_counter_in},
    {.key = "lock-memory",
     .placeholder = "",
     .help = "keep all guest memory in RAM from the start",
     .flag = &RunOptions::lock_memory},
    {.key = "on-reboot",
     .placeholder = "restart|exit",
     .help = "what a guest's reboot does (default restart; exit ends with status 10)",
     .text = &RunOptions::on_reboot},
    {.key = "unpack",
     .placeholder = "auto|never",
     .help = "unpack a bzImage once on the host and keep the result (default auto)",
     .text = &RunOptions::unpack},
    {.key = "no-balloon",
     .placeholder = "",
     .help = "no balloon device: memory that the guest frees stays with it",
     .flag = &RunOptions::no_balloon},
    {.key = "no-rng",
     .placeholder = "",
     .help = "no random number device",
     .flag = &RunOptions::no_rng},
    {.key = "watchdog-ms",
     .placeholder = "MS",
     .help = "interrupt a virtual CPU that stays in the kernel longer than this (default 0: off)",
     .text = &RunOptions::watchdog_ms,
     .is_number = true},
    {.key = "verbose",
     .placeholder = "",
     .help = "log what the monitor does",
     .flag = &RunOptions::verbose},
    {.key = "debug",
     .placeholder = "KNOB",
     .help = "for tests and measurements: exit-stats prints VM exits by reason at the end",
     .list = &RunOptions::debug},
};

// Levenshtein's distance: the least number of characters to insert, delete or change.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row.back();
}

}  // namespace

std::span<const OptionInfo> run_option_table() {
  return kTable;
}

std::string_view nearest_key(std::string_view misspelt) {
  constexpr std::size_t kLongestWorthGuessing = 32;
  if (misspelt.size() > kLongestWorthGuessing) return {};
  std::string_view nearest;
  std::size_t least = std::max<std::size_t>(2, misspelt.size() / 3) + 1;
  for (const OptionInfo& option : kTable) {
    const bool beginning = misspelt.size() >= 3 && option.key.starts_with(misspelt);
    const std::size_t distance = beginning ? 1 : edit_distance(misspelt, option.key);
    if (distance < least) {
      least = distance;
      nearest = option.key;
    }
  }
  return nearest;
}

RunOptions merge(const RunOptions& command_line, const RunOptions& file) {
  RunOptions merged = command_line;
  for (const OptionInfo& option : kTable) {
    if (option.text != nullptr && !(merged.*option.text)) merged.*option.text = file.*option.text;
    if (option.list != nullptr && (merged.*option.list).empty()) {
      merged.*option.list = file.*option.list;
    }
    if (option.flag != nullptr) merged.*option.flag = merged.*option.flag || file.*option.flag;
  }
  return merged;
}

}  // namespace bulkhead::cli
