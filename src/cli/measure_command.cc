// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/error.h"
#include "cli/launch_choices.h"
#include "measure/event_log_writer.h"
#include "vmm/launch_facts.h"

namespace bulkhead::cli {
namespace {

constexpr unsigned kOurPcrs = 10;  // 0 to 9: the rest is the guest's
const char* meaning_of(unsigned pcr) {
  switch (static_cast<Pcr>(pcr)) {
    case kMonitorPcr:
      return "monitor";
    case kConfigPcr:
      return "configuration";
    case kKernelPcr:
      return "kernel";
    case kCommandLinePcr:
      return "command line";
    case kInitrdPcr:
      return "initrd";
    default:
      return "";
  }
}

template <class Value>
Value checked(Result<Value> result) {
  if (!result) {
    const Error& error = result.error();
    throw HostError(std::string("cannot measure: ") + error.what +
                    (error.os_errno != 0 ? ": " + errno_text(error.os_errno) : ""));
  }
  return std::move(*result);
}

// Of the specification only what is measured: nothing is claimed, and no disk opened.
Launch describe(const PartitionConfig& config) {
  Launch launch;
  copy_choices(launch.spec, config);
  open_boot_files(launch, config);
  for (const DiskRequest& disk : config.disks) {
    launch.spec.disks.push_back({.read_only = disk.read_only, .serial = disk.serial});
  }
  launch.spec.nets.resize(config.nets.size());
  launch.spec.seal.resident_bytes = config.seal.resident_bytes;
  launch.spec.seal.compress = config.seal.compress;
  return launch;
}

// A state that lasts is taken to be counted by the host's TPM unless the user says otherwise.
TpmState tpm_state_of(const PartitionConfig& config) {
  if (!config.tpm || config.tpm->state_file.empty()) return TpmState::kTransient;
  return config.tpm->counter_in == StateCounter::kFile ? TpmState::kFileCounter
                                                       : TpmState::kHostCounter;
}

std::vector<LogEvent> measure(const PartitionConfig& config) {
  const Launch launch = describe(config);
  const Fd vmm = open_monitor_program();
  const Fd vtpm = open_tpm_program();
  const MonitorIdentity monitor = checked(identify_monitor(vmm.get(), vtpm.get()));
  return checked(
      measure_launch(checked(predict_facts(launch.spec, tpm_state_of(config), monitor))));
}

std::string hex_of(const PcrBank& bank, unsigned pcr) {
  return to_hex(checked(bank.value(static_cast<Pcr>(pcr))).bytes());
}

void print_table(const std::vector<PcrBank>& banks) {
  for (const PcrBank& bank : banks) {
    for (unsigned pcr = 0; pcr < kOurPcrs; ++pcr) {
      std::printf("%s:%u  %s  %s\n", to_string(bank.algorithm()), pcr, hex_of(bank, pcr).c_str(),
                  meaning_of(pcr));
    }
  }
}

void print_json(const std::vector<PcrBank>& banks) {
  nlohmann::json all = nlohmann::json::object();
  for (const PcrBank& bank : banks) {
    for (unsigned pcr = 0; pcr < kOurPcrs; ++pcr) {
      all["pcrs"][to_string(bank.algorithm())][std::to_string(pcr)] = hex_of(bank, pcr);
    }
  }
  std::printf("%s\n", all.dump(2).c_str());
}

// As docs/formats/policy.md takes it: what has a meaning, in one bank.
void print_reference(const std::vector<PcrBank>& banks, const std::string& name) {
  std::printf("[reference.\"%s\".%s]\n", name.c_str(), to_string(banks[0].algorithm()));
  for (unsigned pcr = 0; pcr < kOurPcrs; ++pcr) {
    if (*meaning_of(pcr) == '\0') continue;
    std::printf("%u = \"%s\"  # %s\n", pcr, hex_of(banks[0], pcr).c_str(), meaning_of(pcr));
  }
}

void write_log(const std::vector<LogEvent>& events, const std::string& path) {
  EventLogWriter log = checked(EventLogWriter::create({.banks = kMeasuredBanks}));
  for (const LogEvent& event : events) {
    if (Result<void> added = log.append(event); !added) throw HostError(added.error().what);
  }
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  const auto bytes = log.log();
  file.write(static_cast<const char*>(static_cast<const void*>(bytes.data())),
             static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw HostError("cannot write '" + path + "': " + errno_text(errno));
}

}  // namespace

int measure_command(const RunOptions& run, const MeasureOptions& options) {
  if (!options.reference.empty() && !is_valid_partition_name(options.reference)) {
    throw UsageError("'" + options.reference + "' cannot name a reference: 1 to 63 letters, " +
                     "digits, '.', '_' and '-'");
  }
  const std::vector<LogEvent> events = measure(understand(run));
  const std::vector<PcrBank> banks = checked(predict_pcrs(events));
  if (!options.event_log.empty()) write_log(events, options.event_log);
  if (!options.reference.empty()) {
    print_reference(banks, options.reference);
  } else if (options.json) {
    print_json(banks);
  } else {
    print_table(banks);
  }
  return kExitOk;
}

}  // namespace bulkhead::cli
