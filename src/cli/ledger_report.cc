// SPDX-License-Identifier: Apache-2.0
#include "cli/ledger_report.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/address.h"
#include "cli/memory_picture.h"

namespace bulkhead::cli {
namespace {

using Json = nlohmann::ordered_json;
using host::MemoryState;

constexpr const char* kAlone =
    "No bulkheadd runs here: each partition's ledger covers that partition alone.\n";

std::string mebibytes(std::uint64_t bytes) {
  return std::to_string(bytes / kMiB) + "M";
}

template <class... Values>
std::string format(const char* pattern, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

std::string hexadecimal(std::uint64_t value) {
  return format("0x%llx", static_cast<unsigned long long>(value));
}

std::string column(const MemoryTotals& totals, MemoryState state) {
  return format(" %9s", mebibytes(totals.of(state)).c_str());
}

std::string partition_name(const HostMemory& memory, std::size_t partition) {
  if (partition >= memory.audit.partitions.size()) return "nobody";
  return memory.audit.partitions[partition].name;
}

Json totals_json(const MemoryTotals& totals) {
  return {{"owned_bytes", totals.of(MemoryState::kOwned)},
          {"sealed_bytes", totals.of(MemoryState::kSealed)},
          {"shared_bytes", totals.of(MemoryState::kShared)},
          {"scrubbing_bytes", totals.of(MemoryState::kScrubbing)}};
}

Json pool_json(const PoolMemory& pool) {
  Json json{{"backing", to_string(pool.backing)}, {"numa_node", nullptr}};
  if (pool.node) json["numa_node"] = *pool.node;
  json["size_bytes"] = pool.size_bytes;
  json.update(totals_json(pool.totals));
  json["free_bytes"] = pool.totals.of(MemoryState::kFree);
  return json;
}

Json partition_json(const HostMemory& memory, std::size_t index) {
  const host::AuditPartition& partition = memory.audit.partitions[index];
  Json json{{"name", partition.name}, {"uid", partition.uid}, {"pid", partition.pid}};
  json.update(totals_json(memory.partitions[index]));
  return json;
}

Json partitions_json(const HostMemory& memory) {
  Json partitions = Json::array();
  for (std::size_t i = 0; i < memory.partitions.size(); ++i) {
    partitions.push_back(partition_json(memory, i));
  }
  return partitions;
}

Json finding_json(const HostMemory& memory, const host::Finding& finding) {
  Json frames = Json::array();
  for (const host::Pfn& frame : finding.frames) frames.push_back(frame.value());
  Json json{{"kind", to_string(finding.kind)}, {"partition", nullptr}, {"pid", nullptr}};
  if (finding.partition != host::kNoPartition) {
    json["partition"] = partition_name(memory, finding.partition);
  }
  if (finding.pid != 0) {
    json["pid"] = finding.pid;
    json["command"] = finding.command;
    json["address"] = finding.address.value();
  }
  json["pages"] = finding.pages;
  json["first_pfns"] = frames;
  json["why"] = finding.why;
  return json;
}

// Text from other processes need not be UTF-8.
std::string dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

const char* scope(const HostMemory& memory) {
  return memory.whole_host ? "host" : "partitions";
}

std::string finding_text(const HostMemory& memory, const host::Finding& finding) {
  std::string text = format("  %s, partition %s", to_string(finding.kind),
                            partition_name(memory, finding.partition).c_str());
  if (finding.pages != 0) text += ", " + std::to_string(finding.pages) + " pages";
  if (!finding.frames.empty()) text += ", frame";
  for (const host::Pfn& frame : finding.frames) text += " " + hexadecimal(frame.value());
  if (finding.pages > finding.frames.size() && !finding.frames.empty()) text += " ...";
  if (finding.pid != 0 && finding.address != Hva(0)) {
    text += ", at " + hexadecimal(finding.address.value());
  }
  return text + ":\n    " + finding.why + "\n";
}

}  // namespace

std::string show_text(const HostMemory& memory) {
  std::string text;
  if (!memory.whole_host) text += kAlone;
  if (!memory.pools.empty()) {
    text += "POOL     NODE      SIZE      FREE     OWNED    SEALED    SHARED SCRUBBING\n";
    for (const PoolMemory& pool : memory.pools) {
      text += format("%-8s %4s %9s", to_string(pool.backing),
                     pool.node ? std::to_string(*pool.node).c_str() : "-",
                     mebibytes(pool.size_bytes).c_str());
      for (const MemoryState state : {MemoryState::kFree, MemoryState::kOwned, MemoryState::kSealed,
                                      MemoryState::kShared, MemoryState::kScrubbing}) {
        text += column(pool.totals, state);
      }
      text += "\n";
    }
    text += "\n";
  }
  text += "PARTITION                 UID      PID     OWNED    SEALED    SHARED\n";
  for (std::size_t i = 0; i < memory.partitions.size(); ++i) {
    const host::AuditPartition& partition = memory.audit.partitions[i];
    text += format("%-20s %8u %8d", partition.name.c_str(), partition.uid, partition.pid);
    for (const MemoryState state :
         {MemoryState::kOwned, MemoryState::kSealed, MemoryState::kShared}) {
      text += column(memory.partitions[i], state);
    }
    text += "\n";
  }
  return text;
}

std::string show_json(const HostMemory& memory) {
  Json pools = Json::array();
  for (const PoolMemory& pool : memory.pools) pools.push_back(pool_json(pool));
  return dump({{"version", 1},
               {"scope", scope(memory)},
               {"pools", pools},
               {"partitions", partitions_json(memory)}});
}

std::string audit_text(const HostMemory& memory, const host::AuditReport& report) {
  std::string text;
  if (!memory.whole_host) text += kAlone;
  text += format(
      "%zu partitions with %s in %llu pages that are there; the page tables of %llu "
      "processes\n",
      memory.partitions.size(), size_text(report.pages * kPageSize).c_str(),
      static_cast<unsigned long long>(report.pages),
      static_cast<unsigned long long>(report.processes));
  if (report.clean()) {
    return text + "clean: each of these pages is mapped by its owner, once, and by nobody else\n";
  }
  text += format("%zu findings\n", report.findings.size());
  for (const host::Finding& finding : report.findings) text += finding_text(memory, finding);
  if (!report.unreadable.empty()) text += "incomplete: this could not be looked at\n";
  for (const std::string& problem : report.unreadable) text += "  " + problem + "\n";
  return text;
}

std::string audit_json(const HostMemory& memory, const host::AuditReport& report) {
  Json findings = Json::array();
  for (const host::Finding& finding : report.findings) {
    findings.push_back(finding_json(memory, finding));
  }
  return dump({{"version", 1},
               {"scope", scope(memory)},
               {"clean", report.clean()},
               {"processes", report.processes},
               {"pages", report.pages},
               {"partitions", partitions_json(memory)},
               {"findings", findings},
               {"unreadable", report.unreadable}});
}

}  // namespace bulkhead::cli
