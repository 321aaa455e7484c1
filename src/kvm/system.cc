// SPDX-License-Identifier: Apache-2.0
#include "kvm/system.h"

#include <fcntl.h>

#include <array>
#include <cerrno>

#include "kvm/abi.h"

namespace bulkhead::kvm {

namespace {

constexpr int kApiVersion = 12;
constexpr int kCreateAttempts = 8;

Error explain_open(Error error) {
  switch (error.os_errno) {
    case ENOENT:
      error.what =
          "no /dev/kvm: load kvm_intel or kvm_amd, or enable virtualization in the firmware";
      break;
    case EACCES:
    case EPERM:
      error.what = "no permission for /dev/kvm: is your user in group kvm?";
      break;
    case ENODEV:
    case ENXIO:
      error.what = "/dev/kvm has no driver behind it: load kvm_intel or kvm_amd";
      break;
    default:
      error.what = "cannot open /dev/kvm";
      break;
  }
  return error;
}

struct CpuidRequest {
  abi::CpuidHeader header;
  std::array<kvm_cpuid_entry2, CpuidTable::kMaxEntries> entries;
};
static_assert(offsetof(CpuidRequest, entries) == sizeof(abi::CpuidHeader));

CpuidEntry from_kernel(const kvm_cpuid_entry2& entry) {
  return {.function = entry.function,
          .index = entry.index,
          .indexed = (entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0,
          .eax = entry.eax,
          .ebx = entry.ebx,
          .ecx = entry.ecx,
          .edx = entry.edx};
}

}  // namespace

Result<System> System::open(const char* path) {
  auto fd = Fd::open(path, O_RDWR);
  if (!fd) return explain_open(fd.error());
  return adopt(std::move(*fd));
}

Result<System> System::adopt(Fd fd) {
  auto version = abi::call(fd, KVM_GET_API_VERSION, 0UL, "the descriptor is not /dev/kvm");
  if (!version) return version.error();
  if (*version != kApiVersion) {
    return Error{Errc::kUnsupported, 0, "/dev/kvm speaks another API version than 12"};
  }
  int size = TRY(abi::call(fd, KVM_GET_VCPU_MMAP_SIZE, 0UL, "cannot ask for the kvm_run size"));
  auto run_size = static_cast<std::size_t>(size);
  if (run_size < sizeof(kvm_run)) {
    return Error{Errc::kUnsupported, 0, "the host's kvm_run area is too small"};
  }
  return System(std::move(fd), run_size);
}

Result<int> System::capability(Capability capability) const {
  return abi::call(fd_, KVM_CHECK_EXTENSION, static_cast<unsigned long>(capability),
                   "cannot ask KVM for a capability");
}

Result<Vm> System::create_vm() const {
  // A signal may interrupt the creation (api.rst, KVM_CREATE_VM registers an MMU notifier).
  for (int attempt = 1;; ++attempt) {
    auto number = abi::call(fd_, KVM_CREATE_VM, 0UL, "cannot create a virtual machine");
    if (number) return Vm(Fd(*number), run_size_);
    if (number.error().os_errno != EINTR || attempt == kCreateAttempts) return number.error();
  }
}

Result<CpuidTable> System::supported_cpuid() const {
  CpuidRequest request{};
  request.header.nent = CpuidTable::kMaxEntries;
  TRY(abi::call(fd_, abi::kGetSupportedCpuid, &request, "cannot ask KVM for the CPUID it offers"));
  std::vector<CpuidEntry> entries;
  std::uint32_t count = std::min(request.header.nent, CpuidTable::kMaxEntries);
  entries.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) entries.push_back(from_kernel(request.entries[i]));
  return CpuidTable(std::move(entries));
}

Result<std::vector<std::uint32_t>> System::saved_msrs() const {
  constexpr std::uint32_t kMaxMsrs = 4096;
  // The first element is the header: with none to fill, E2BIG comes with the number there are.
  abi::MsrListHeader count;
  auto probe = abi::call(fd_, abi::kGetMsrIndexList, &count, "cannot ask KVM for its MSRs");
  if (!probe && probe.error().os_errno != E2BIG) return probe.error();
  if (count.nmsrs > kMaxMsrs) return Error{Errc::kUnsupported, 0, "KVM names too many MSRs"};
  std::vector<std::uint32_t> list(1 + count.nmsrs);
  list[0] = count.nmsrs;
  TRY(abi::call(fd_, abi::kGetMsrIndexList, list.data(), "cannot ask KVM for its MSRs"));
  list.resize(std::min<std::size_t>(list.size(), 1 + list[0]));
  list.erase(list.begin());
  return list;
}

}  // namespace bulkhead::kvm
