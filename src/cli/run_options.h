// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bulkhead::cli {

// What the user said, word by word: from the command line or from a configuration file. Nothing is
// interpreted yet; partition_config.h does that.
struct RunOptions {
  std::optional<std::string> kernel;
  std::optional<std::string> initrd;
  std::optional<std::string> memory;
  std::optional<std::string> cpus;
  std::optional<std::string> vsock;
  std::optional<std::string> cmdline;
  std::optional<std::string> name;
  std::optional<std::string> backing;
  std::optional<std::string> max_memory;
  std::optional<std::string> frames;
  std::optional<std::string> numa_node;
  std::optional<std::string> resident;
  std::optional<std::string> key_file;
  std::optional<std::string> sealed_dir;
  std::optional<std::string> tpm_state;
  std::optional<std::string> tpm_counter;
  std::optional<std::string> tpm_counter_in;
  std::optional<std::string> on_reboot;
  std::optional<std::string> unpack;
  std::optional<std::string> watchdog_ms;
  std::vector<std::string> disks;
  std::vector<std::string> nets;
  std::vector<std::string> debug;
  bool cmdline_raw = false;
  bool detach = false;
  bool lock_memory = false;
  bool seal_compress = false;
  bool tpm = false;
  bool no_balloon = false;
  bool no_rng = false;
  bool verbose = false;

  bool operator==(const RunOptions&) const = default;
};

// One option of `bulkhead run`: the flag --key, and the key of a configuration file. Exactly one of
// the member pointers is set.
struct OptionInfo {
  std::string_view key;
  std::string_view placeholder;  // in help; empty for a flag
  std::string_view help;
  std::optional<std::string> RunOptions::* text = nullptr;
  std::vector<std::string> RunOptions::* list = nullptr;
  bool RunOptions::* flag = nullptr;
  bool is_path = false;    // in a configuration file, relative to the file's directory
  bool is_number = false;  // may be a plain integer in a configuration file
};

std::span<const OptionInfo> run_option_table();

// The key that a misspelt one most likely means; empty when none is near.
std::string_view nearest_key(std::string_view misspelt);

// What the command line says wins over what the file says. A list on the command line replaces
// the file's list.
RunOptions merge(const RunOptions& command_line, const RunOptions& file);

}  // namespace bulkhead::cli
