// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/address.h"
#include "host/survey_parts.h"

namespace bulkhead::host {

namespace {

std::uint64_t kilobytes(std::string_view meminfo, std::string_view key) {
  return parse_number(field(meminfo, key).value_or("")).value_or(0) * kKiB;
}

HugePages huge_pages(const Root& root, std::string_view size) {
  std::string pool = "/sys/kernel/mm/hugepages/hugepages-" + std::string(size) + "/";
  return {.total = root.number(pool + "nr_hugepages").value_or(0),
          .free = root.number(pool + "free_hugepages").value_or(0)};
}

// memmap=nn[KMG]$ss marks a range as reserved. The bootloader may have kept a backslash before $.
std::vector<std::string> carved_ranges(std::string_view command_line) {
  constexpr std::string_view kKey = "memmap=";
  std::vector<std::string> ranges;
  for (std::string_view word : words(command_line)) {
    if (!word.starts_with(kKey) || word.find('$') == std::string_view::npos) continue;
    ranges.emplace_back(word.substr(kKey.size()));
  }
  return ranges;
}

}  // namespace

MemorySurvey survey_memory(const Root& root, const Probes& probes) {
  constexpr std::string_view kThp = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
  std::string meminfo = root.text("/proc/meminfo").value_or("");
  MemorySurvey memory;
  memory.total_bytes = kilobytes(meminfo, "MemTotal");
  memory.available_bytes = kilobytes(meminfo, "MemAvailable");
  memory.swap_bytes = kilobytes(meminfo, "SwapTotal");
  memory.sealed_memfd = probes.sealed_memfd;
  memory.memlock_limit_bytes = probes.memlock_limit_bytes;
  memory.huge_2m = huge_pages(root, "2048kB");
  memory.huge_1g = huge_pages(root, "1048576kB");
  memory.shmem_huge = chosen_word(root.text(kThp).value_or(""));
  memory.carved = carved_ranges(root.text("/proc/cmdline").value_or(""));
  for (const std::string& range : memory.carved) {
    memory.carved_largest_bytes =
        std::max(memory.carved_largest_bytes, parse_size(range).value_or(0));
  }
  memory.guest_memfd = probes.kvm.guest_memfd;
  memory.guest_memfd_mappable = probes.kvm.guest_memfd_mappable;
  memory.memfd_secret = probes.memfd_secret;
  memory.daemon = probes.daemon;
  memory.ksm = root.number("/sys/kernel/mm/ksm/run").value_or(0) == 1;
  return memory;
}

}  // namespace bulkhead::host
