// SPDX-License-Identifier: Apache-2.0
#include "base/address.h"
#include "host/survey_parts.h"

// Which memory a partition would get here: memfd < hugetlb < carved < gmem < snp < tdx.

namespace bulkhead::host {

namespace {

constexpr std::uint64_t kSmallestPartition = 64 * kMiB;

IsolationLevel rung(Isolation level, const std::string& host_lacks) {
  bool ready = host_lacks.empty();
  return {.level = level, .host_ready = ready, .available = ready, .reason = host_lacks};
}

// A rung that the machine may have, but that Bulkhead has no memory backend for.
IsolationLevel future_rung(Isolation level, const std::string& host_lacks) {
  IsolationLevel result = rung(level, host_lacks);
  result.available = false;
  if (result.host_ready) {
    result.reason = "the machine is ready, but this version of Bulkhead has no backend for it";
  }
  return result;
}

std::string hugetlb_lacks(const MemorySurvey& memory) {
  if (!memory.sealed_memfd) return "the kernel has no sealed memfd";
  if (memory.huge_2m.total == 0) return "no huge pages are reserved (vm.nr_hugepages is 0)";
  if (memory.huge_2m.free < kSmallestPartition / (2 * kMiB)) {
    return "only " + std::to_string(memory.huge_2m.free) + " of the reserved huge pages are free";
  }
  return "";
}

std::string carved_lacks(const MemorySurvey& memory) {
  if (memory.carved.empty()) return "no memmap=SIZE$ADDRESS on the kernel command line";
  bool room = memory.carved_largest_bytes >= kSmallestPartition;
  return room ? "" : "no memmap= range holds a partition: each is smaller than 64 MiB";
}

std::string gmem_lacks(const MemorySurvey& memory) {
  if (!memory.guest_memfd) return "KVM here has no guest_memfd";
  return memory.guest_memfd_mappable ? "" : "guest_memfd cannot be mapped before Linux 6.18";
}

std::string snp_lacks(const ConfidentialSurvey& confidential) {
  if (!confidential.cpu_snp) return "the processor has no SEV-SNP";
  if (!confidential.sev_snp) return "SEV-SNP is off (kvm_amd.sev_snp, or the firmware)";
  return confidential.sev_device ? "" : "there is no /dev/sev";
}

std::string tdx_lacks(const ConfidentialSurvey& confidential) {
  if (!confidential.cpu_tdx) return "the processor has no TDX, or the firmware has it off";
  return confidential.tdx ? "" : "TDX is off (kvm_intel.tdx)";
}

IsolationLevel carved_rung(const MemorySurvey& memory) {
  IsolationLevel result = rung(Isolation::kCarved, carved_lacks(memory));
  result.available = result.host_ready && memory.daemon.carved_free_bytes >= kSmallestPartition;
  if (result.host_ready && !result.available) {
    result.reason =
        "the machine is ready; it takes root, and bulkheadd with a carved pool of "
        "which 64 MiB are free";
  }
  return result;
}

}  // namespace

std::vector<IsolationLevel> isolation_ladder(const Survey& survey) {
  const MemorySurvey& memory = survey.memory;
  return {
      rung(Isolation::kMemfd, memory.sealed_memfd ? "" : "the kernel has no sealed memfd"),
      rung(Isolation::kHugetlb, hugetlb_lacks(memory)),
      carved_rung(memory),
      future_rung(Isolation::kGmem, gmem_lacks(memory)),
      future_rung(Isolation::kSnp, snp_lacks(survey.platform.confidential)),
      future_rung(Isolation::kTdx, tdx_lacks(survey.platform.confidential)),
  };
}

}  // namespace bulkhead::host
