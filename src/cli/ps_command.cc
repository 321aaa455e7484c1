// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/control_client.h"
#include "cli/error.h"
#include "cli/runtime_dir.h"

namespace bulkhead::cli {
namespace {

// A partition that holds its lock but does not answer is shown, not left out.
StatusFields describe(const RuntimeDir& runtime, const std::string& name) {
  StatusFields fields{{"state", "unresponsive"}};
  try {
    fields = parse_status(ControlClient(runtime, name).ask("status"));
  } catch (const HostError&) {
    if (!runtime.is_live(name)) return {};
  }
  fields["name"] = name;
  fields["pid"] = std::to_string(runtime.pid_of(name));
  return fields;
}

std::string uptime_text(std::uint64_t ms) {
  const std::uint64_t s = ms / 1000;
  if (s < 60) return std::to_string(s) + "s";
  if (s < 3600) return std::to_string(s / 60) + "m" + std::to_string(s % 60) + "s";
  return std::to_string(s / 3600) + "h" + std::to_string(s % 3600 / 60) + "m";
}

void print_table(const std::vector<StatusFields>& rows) {
  std::printf("%-20s %8s %-12s %4s %8s %8s %8s\n", "NAME", "PID", "STATE", "CPUS", "MEMORY",
              "UPTIME", "REBOOTS");
  for (const StatusFields& row : rows) {
    const std::string memory = mib_text(number(row, "memory_bytes"));
    std::printf("%-20s %8s %-12s %4s %8s %8s %8s\n", row.at("name").c_str(), row.at("pid").c_str(),
                row.at("state").c_str(), std::to_string(number(row, "cpus")).c_str(),
                memory.c_str(), uptime_text(number(row, "uptime_ms")).c_str(),
                std::to_string(number(row, "reboots")).c_str());
  }
}

void print_json(const std::vector<StatusFields>& rows) {
  nlohmann::json all = nlohmann::json::array();
  for (const StatusFields& row : rows) {
    nlohmann::json item{{"name", row.at("name")}, {"state", row.at("state")}};
    for (const char* key : {"pid", "cpus", "memory_bytes", "uptime_ms", "reboots"}) {
      item[key] = number(row, key);
    }
    all.push_back(item);
  }
  std::printf("%s\n", all.dump(2).c_str());
}

}  // namespace

int ps_command(bool json) {
  const RuntimeDir runtime = RuntimeDir::open();
  std::vector<StatusFields> rows;
  for (const std::string& name : runtime.live()) {
    StatusFields fields = describe(runtime, name);
    if (fields.contains("state")) rows.push_back(std::move(fields));
  }
  if (json) {
    print_json(rows);
  } else {
    print_table(rows);
  }
  return kExitOk;
}

}  // namespace bulkhead::cli
