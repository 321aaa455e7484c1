// SPDX-License-Identifier: Apache-2.0
#include "kvm/vcpu.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>

#include "kvm/abi.h"

namespace bulkhead::kvm {

namespace {

constexpr std::size_t kMsrsPerCall = 64;  // the kernel takes 256
constexpr int kPrefaultAttempts = 1 << 16;

struct MsrRequest {
  abi::MsrsHeader header;
  std::array<kvm_msr_entry, kMsrsPerCall> entries;
};
static_assert(offsetof(MsrRequest, entries) == sizeof(abi::MsrsHeader));

MsrRequest pack(std::span<const Msr> msrs) {
  MsrRequest request{};
  request.header.nmsrs = static_cast<std::uint32_t>(msrs.size());
  for (std::size_t i = 0; i < msrs.size(); ++i) {
    request.entries[i] = {.index = msrs[i].index, .reserved = 0, .data = msrs[i].value};
  }
  return request;
}

struct CpuidRequest {
  abi::CpuidHeader header;
  std::array<kvm_cpuid_entry2, CpuidTable::kMaxEntries> entries;
};
static_assert(offsetof(CpuidRequest, entries) == sizeof(abi::CpuidHeader));

kvm_cpuid_entry2 to_kernel(const CpuidEntry& entry) {
  kvm_cpuid_entry2 raw{};
  raw.function = entry.function;
  raw.index = entry.index;
  raw.flags = entry.indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
  raw.eax = entry.eax;
  raw.ebx = entry.ebx;
  raw.ecx = entry.ecx;
  raw.edx = entry.edx;
  return raw;
}

// Shared with request_exit() on other threads, with the signal handler, and with the kernel.
std::atomic_ref<std::byte> immediate_exit(const Mapping& run_area) {
  return std::atomic_ref<std::byte>(run_area.data()[offsetof(kvm_run, immediate_exit)]);
}

}  // namespace

Result<Vcpu> Vcpu::create(Fd fd, std::uint32_t id, Layout layout) {
  auto run_area = TRY(Mapping::create({.size_bytes = layout.run_size,
                                       .protection = PROT_READ | PROT_WRITE,
                                       .flags = MAP_SHARED,
                                       .fd = fd.get()}));
  return Vcpu(std::move(fd), std::move(run_area), id, layout.xsave_size);
}

Result<Exit> Vcpu::run() {
  if (::ioctl(fd_.get(), KVM_RUN, 0) >= 0) [[likely]]
    return decode_exit(run_area_.bytes());
  int error = errno;
  // EAGAIN: an application processor that has had its SIPI, and starts at the next run.
  if (error == EINTR || error == EAGAIN) {
    // Taking the request must order before the caller's look at what was requested: a request
    // cleared here is one whose cause is visible there, a later one stays set.
    immediate_exit(run_area_).exchange(std::byte{0}, std::memory_order_acq_rel);
    return Exit(Interrupted{});
  }
  if (error == EFAULT || error == EHWPOISON) {
    Exit exit = decode_exit(run_area_.bytes());
    if (std::holds_alternative<MemoryFault>(exit)) return exit;
  }
  return os_error(error, "the virtual processor cannot run");
}

Result<Exit> Vcpu::finish_exit() {
  request_exit();
  return run();
}

void Vcpu::request_exit() const {
  immediate_exit(run_area_).store(std::byte{1}, std::memory_order_release);
}

Result<void> Vcpu::set_cpuid(const CpuidTable& table) const {
  CpuidRequest request{};
  auto entries = table.entries();
  if (entries.size() > request.entries.size()) {
    return Error{Errc::kExhausted, 0, "too many CPUID entries"};
  }
  request.header.nent = static_cast<std::uint32_t>(entries.size());
  std::ranges::transform(entries, request.entries.begin(), to_kernel);
  TRY(abi::call(fd_, abi::kSetCpuid2, &request, "KVM refuses the CPUID table"));
  return {};
}

Result<Registers> Vcpu::registers() const {
  Registers registers;
  TRY(abi::call(fd_, KVM_GET_REGS, &registers, "cannot read the registers"));
  return registers;
}

Result<void> Vcpu::set_registers(const Registers& registers) const {
  TRY(abi::call(fd_, KVM_SET_REGS, &registers, "KVM refuses the registers"));
  return {};
}

Result<SpecialRegisters> Vcpu::special_registers() const {
  SpecialRegisters registers;
  TRY(abi::call(fd_, KVM_GET_SREGS, &registers, "cannot read the system registers"));
  return registers;
}

Result<void> Vcpu::set_special_registers(const SpecialRegisters& registers) const {
  TRY(abi::call(fd_, KVM_SET_SREGS, &registers, "KVM refuses the system registers"));
  return {};
}

Result<std::size_t> Vcpu::read_some_msrs(std::span<Msr> msrs) const {
  MsrRequest request = pack(msrs.first(std::min(msrs.size(), kMsrsPerCall)));
  int done = TRY(abi::call(fd_, abi::kGetMsrs, &request, "cannot read the MSRs"));
  auto count = static_cast<std::size_t>(done);
  for (std::size_t i = 0; i < count; ++i) msrs[i].value = request.entries[i].data;
  return count;
}

Result<std::size_t> Vcpu::write_some_msrs(std::span<const Msr> msrs) const {
  MsrRequest request = pack(msrs.first(std::min(msrs.size(), kMsrsPerCall)));
  int done = TRY(abi::call(fd_, abi::kSetMsrs, &request, "cannot write the MSRs"));
  return static_cast<std::size_t>(done);
}

Result<void> Vcpu::read_msrs(std::span<Msr> msrs) const {
  while (!msrs.empty()) {
    std::size_t done = TRY(read_some_msrs(msrs));
    if (done == 0) return Error{Errc::kUnsupported, 0, "KVM does not know an MSR to be read"};
    msrs = msrs.subspan(done);
  }
  return {};
}

Result<void> Vcpu::write_msrs(std::span<const Msr> msrs) const {
  while (!msrs.empty()) {
    std::size_t done = TRY(write_some_msrs(msrs));
    if (done == 0) return Error{Errc::kUnsupported, 0, "KVM refuses an MSR's value"};
    msrs = msrs.subspan(done);
  }
  return {};
}

Result<MpState> Vcpu::mp_state() const {
  kvm_mp_state state{};
  TRY(abi::call(fd_, KVM_GET_MP_STATE, &state, "cannot read the processor's run state"));
  return MpState{state.mp_state};
}

Result<void> Vcpu::set_mp_state(MpState state) const {
  kvm_mp_state raw{static_cast<std::uint32_t>(state)};
  TRY(abi::call(fd_, KVM_SET_MP_STATE, &raw, "KVM refuses the processor's run state"));
  return {};
}

Result<std::uint32_t> Vcpu::tsc_khz() const {
  int khz = TRY(abi::call(fd_, KVM_GET_TSC_KHZ, 0UL, "the host's TSC has no steady frequency"));
  return static_cast<std::uint32_t>(khz);
}

Result<void> Vcpu::set_tsc_khz(std::uint32_t khz) const {
  TRY(abi::call(fd_, KVM_SET_TSC_KHZ, static_cast<unsigned long>(khz),
                "the host cannot give the guest this TSC frequency"));
  return {};
}

Result<void> Vcpu::interrupt(std::uint8_t vector) const {
  kvm_interrupt request{.irq = vector};
  TRY(abi::call(fd_, KVM_INTERRUPT, &request, "cannot queue an interrupt"));
  return {};
}

Result<void> Vcpu::set_machine_check_banks(std::uint8_t count) const {
  std::uint64_t mcg_cap = count;  // SDM "IA32_MCG_CAP": the count, and no feature bits
  TRY(abi::call(fd_, KVM_X86_SETUP_MCE, &mcg_cap, "cannot set up machine checks"));
  return {};
}

Result<void> Vcpu::nmi() const {
  TRY(abi::call(fd_, KVM_NMI, 0UL, "cannot queue an NMI"));
  return {};
}

Result<void> Vcpu::announce_pause() const {
  auto told = abi::call(fd_, KVM_KVMCLOCK_CTRL, 0UL, "cannot tell the guest of a pause");
  // EINVAL: the guest does not use kvmclock, and has nothing to be told.
  if (!told && told.error().os_errno != EINVAL) return told.error();
  return {};
}

Result<void> Vcpu::prefault(Gpa base, std::uint64_t size_bytes) const {
  abi::PreFaultMemory request{.gpa = base.value(), .size = size_bytes};
  // KVM moves gpa and size past what is done, and stops early for signals: each round is progress
  // or an interruption, of which there are not that many.
  for (int attempt = 0; attempt < kPrefaultAttempts && request.size != 0; ++attempt) {
    auto done = abi::call(fd_, abi::kPreFaultMemory, &request, "cannot map guest memory ahead");
    if (done || done.error().os_errno == EINTR || done.error().os_errno == EAGAIN) continue;
    return done.error();
  }
  if (request.size == 0) return {};
  return Error{Errc::kTimeout, 0, "mapping guest memory ahead was interrupted too often"};
}

}  // namespace bulkhead::kvm
