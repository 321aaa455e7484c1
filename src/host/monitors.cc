// SPDX-License-Identifier: Apache-2.0
#include "host/monitors.h"

#include <numeric>

namespace bulkhead::host {
namespace {

constexpr std::string_view kMonitor = "bulkhead-vmm";
constexpr std::string_view kMemoryFile = "/memfd:bulkhead-ram";
constexpr std::string_view kPhysicalMemory = "/dev/mem";

// "Uid: real effective saved filesystem". The owner of /proc/PID would be root, as a monitor lets
// nobody dump it.
uid_t user_of(const Root& root, pid_t pid) {
  const std::string status = root.text("/proc/" + std::to_string(pid) + "/status").value_or("");
  return static_cast<uid_t>(parse_number(field(status, "Uid").value_or("")).value_or(0));
}

bool is_guest_memory(const Vma& vma, std::string_view pool_directory) {
  if (!vma.shared) return false;
  if (vma.path.starts_with(kMemoryFile) || vma.path == kPhysicalMemory) return true;
  return !pool_directory.empty() && vma.path.starts_with(std::string(pool_directory) + "/");
}

AuditRegion region_of(const Vma& vma) {
  AuditRegion region{.offset = vma.file_offset, .size_bytes = vma.size_bytes()};
  if (vma.path != kPhysicalMemory) region.file = vma.file;
  return region;
}

}  // namespace

std::uint64_t Monitor::size_bytes() const {
  return std::accumulate(
      regions.begin(), regions.end(), std::uint64_t{0},
      [](std::uint64_t sum, const AuditRegion& region) { return sum + region.size_bytes; });
}

Result<std::vector<Monitor>> find_monitors(const Root& root, std::string_view pool_directory) {
  std::vector<Monitor> monitors;
  for (const pid_t pid : process_ids(root)) {
    if (root.text("/proc/" + std::to_string(pid) + "/comm") != kMonitor) continue;
    const Result<Process> process = Process::open(root, pid);
    const Result<std::vector<Vma>> vmas = process ? process->vmas() : process.error();
    if (!vmas && vmas.error().code == Errc::kNotFound) continue;
    Monitor monitor{.pid = pid, .uid = user_of(root, pid)};
    for (const Vma& vma : TRY(vmas)) {
      if (is_guest_memory(vma, pool_directory)) monitor.regions.push_back(region_of(vma));
    }
    monitors.push_back(std::move(monitor));
  }
  return monitors;
}

}  // namespace bulkhead::host
