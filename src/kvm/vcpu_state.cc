// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "kvm/abi.h"
#include "kvm/state_blob.h"
#include "kvm/vcpu.h"

// Vcpu::save() and Vcpu::restore().

namespace bulkhead::kvm {

namespace {

constexpr std::uint32_t kVcpuBlobMagic = 0x43564842;  // "BHVC"
constexpr std::uint32_t kDataBlobMagic = 0x44564842;  // "BHVD"
constexpr std::size_t kMaxMsrs = 4096;
constexpr std::uint32_t kMsrTscDeadline = 0x6e0;

// The fixed parts; XSAVE and the MSRs have a size of the host's.
struct FixedState {
  kvm_mp_state mp_state;
  Registers registers;
  SpecialRegisters special;
  kvm_xcrs xcrs;
  kvm_debugregs debug;
  kvm_lapic_state lapic;
  kvm_vcpu_events events;
};

Result<FixedState> read_fixed(const Fd& vcpu) {
  FixedState state{};
  // First, since it makes KVM take pending INIT and SIPI, which changes the rest.
  TRY(abi::call(vcpu, KVM_GET_MP_STATE, &state.mp_state, "cannot save the run state"));
  TRY(abi::call(vcpu, KVM_GET_REGS, &state.registers, "cannot save the registers"));
  TRY(abi::call(vcpu, KVM_GET_SREGS, &state.special, "cannot save the system registers"));
  TRY(abi::call(vcpu, KVM_GET_XCRS, &state.xcrs, "cannot save XCR0"));
  TRY(abi::call(vcpu, KVM_GET_DEBUGREGS, &state.debug, "cannot save the debug registers"));
  TRY(abi::call(vcpu, KVM_GET_LAPIC, &state.lapic, "cannot save the local APIC"));
  TRY(abi::call(vcpu, KVM_GET_VCPU_EVENTS, &state.events, "cannot save pending events"));
  return state;
}

// Order matters: the run state first (it resets events); CR4 before XSAVE; the APIC's base before
// the APIC; the APIC's timer mode before IA32_TSC_DEADLINE among the MSRs; events last, because
// writing registers drops pending exceptions.
Result<void> write_until_lapic(const Fd& vcpu, const FixedState& state,
                               std::span<const std::byte> xsave) {
  TRY(abi::call(vcpu, KVM_SET_MP_STATE, &state.mp_state, "KVM refuses the saved run state"));
  TRY(abi::call(vcpu, KVM_SET_REGS, &state.registers, "KVM refuses the saved registers"));
  TRY(abi::call(vcpu, KVM_SET_SREGS, &state.special, "KVM refuses the saved system registers"));
  TRY(abi::call(vcpu, abi::kSetXsave, xsave.data(), "KVM refuses the saved XSAVE state"));
  // Without XSAVE there are none, and KVM refuses to be told so.
  if (state.xcrs.nr_xcrs != 0) {
    TRY(abi::call(vcpu, KVM_SET_XCRS, &state.xcrs, "KVM refuses the saved XCR0"));
  }
  TRY(abi::call(vcpu, KVM_SET_DEBUGREGS, &state.debug, "KVM refuses the saved debug registers"));
  TRY(abi::call(vcpu, KVM_SET_LAPIC, &state.lapic, "KVM refuses the saved local APIC"));
  return {};
}

Result<std::vector<Msr>> parse_msrs(std::span<const std::byte> section) {
  constexpr std::size_t kWireSize = 12;  // u32 index, u64 value
  if (section.size() % kWireSize != 0 || section.size() / kWireSize > kMaxMsrs) {
    return Error{Errc::kMalformed, 0, "the saved MSRs have the wrong size"};
  }
  ByteReader reader(section);
  std::vector<Msr> msrs(section.size() / kWireSize);
  for (Msr& msr : msrs) {
    msr.index = TRY(reader.read<std::uint32_t>());
    msr.value = TRY(reader.read<std::uint64_t>());
  }
  return msrs;
}

std::vector<std::byte> format_msrs(std::span<const Msr> msrs) {
  std::vector<std::byte> section(msrs.size() * 12);
  std::size_t offset = 0;
  for (const Msr& msr : msrs) {
    put_le(section, offset, msr.index);
    put_le(section, offset + 4, msr.value);
    offset += 12;
  }
  return section;
}

}  // namespace

// KVM lists MSRs that the guest's CPUID may then rule out: those are skipped.
Result<std::vector<Msr>> Vcpu::readable_msrs(std::span<const std::uint32_t> indices) const {
  if (indices.size() > kMaxMsrs) return Error{Errc::kExhausted, 0, "too many MSRs to save"};
  std::vector<Msr> wanted;
  wanted.reserve(indices.size());
  for (std::uint32_t index : indices) wanted.push_back({.index = index});
  std::ranges::partition(wanted, [](Msr msr) { return msr.index != kMsrTscDeadline; });

  std::vector<Msr> readable;
  readable.reserve(wanted.size());
  for (std::span<Msr> rest = wanted; !rest.empty();) {
    std::size_t done = TRY(read_some_msrs(rest));
    readable.insert(readable.end(), rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(done));
    rest = rest.subspan(std::max<std::size_t>(done, 1));
  }
  return readable;
}

// Some MSRs are read-only for the host as well: a refusal counts only if the value would differ.
Result<void> Vcpu::restore_msrs(std::span<const Msr> msrs) const {
  while (!msrs.empty()) {
    std::size_t done = TRY(write_some_msrs(msrs));
    if (done == 0) {
      Msr present{.index = msrs[0].index};
      TRY(read_msrs({&present, 1}));
      if (present.value != msrs[0].value) {
        return Error{Errc::kUnsupported, 0, "this host cannot restore one of the saved MSRs"};
      }
      done = 1;
    }
    msrs = msrs.subspan(done);
  }
  return {};
}

Result<std::vector<std::byte>> Vcpu::save(std::span<const std::uint32_t> msr_indices) const {
  FixedState state = TRY(read_fixed(fd_));
  const std::vector<std::byte> xsave = TRY(read_xsave());
  std::vector<Msr> msrs = TRY(readable_msrs(msr_indices));

  BlobWriter blob(kVcpuBlobMagic);
  blob.put(state);
  blob.put_bytes(xsave);
  blob.put_bytes(format_msrs(msrs));
  return std::move(blob).take();
}

Result<std::vector<std::byte>> Vcpu::read_xsave() const {
  std::vector<std::byte> xsave(xsave_size_);
  unsigned long get_xsave = xsave_size_ > sizeof(abi::XsaveArea) ? abi::kGetXsave2 : abi::kGetXsave;
  TRY(abi::call(fd_, get_xsave, xsave.data(), "cannot save the XSAVE state"));
  return xsave;
}

// No copy may stay on our heap or stack, hence the room given to the blob, and the wiping.
Result<std::vector<std::byte>> Vcpu::data() const {
  Registers general = TRY(registers());
  std::vector<std::byte> xsave = TRY(read_xsave());
  BlobWriter blob(kDataBlobMagic, sizeof general + xsave.size() + 64);
  blob.put(general);
  blob.put_bytes(xsave);
  ::explicit_bzero(&general, sizeof general);
  ::explicit_bzero(xsave.data(), xsave.size());
  return std::move(blob).take();
}

// An XSAVE image whose header names no component puts them all into their initial state (SDM,
// "Operation of XRSTOR"); without XSAVE the legacy image of zeros is loaded as it is.
Result<void> Vcpu::wipe_data() const {
  std::vector<std::byte> xsave(xsave_size_);
  TRY(set_registers({.rflags = 2}));  // bit 1 is always set
  TRY(abi::call(fd_, abi::kSetXsave, xsave.data(), "KVM does not clear the XSAVE state"));
  // What the last exits moved through ports and to devices; nobody needs it once they are finished.
  ::explicit_bzero(run_area_.data() + KVM_PIO_PAGE_OFFSET * kPageSize, kPageSize);
  ::explicit_bzero(run_area_.data() + offsetof(kvm_run, mmio), sizeof(kvm_run::mmio));
  return {};
}

Result<void> Vcpu::put_back_data(std::span<const std::byte> bytes) const {
  auto blob = TRY(BlobReader::open(bytes, kDataBlobMagic));
  auto general = TRY(blob.get<Registers>());
  auto xsave = TRY(blob.get_bytes());
  if (xsave.size() != xsave_size_) {
    return Error{Errc::kUnsupported, 0, "the saved XSAVE state has another host's size"};
  }
  TRY(blob.finish());
  TRY(set_registers(general));
  TRY(abi::call(fd_, abi::kSetXsave, xsave.data(), "KVM refuses the saved XSAVE state"));
  return {};
}

Result<void> Vcpu::restore(std::span<const std::byte> bytes) const {
  auto blob = TRY(BlobReader::open(bytes, kVcpuBlobMagic));
  auto state = TRY(blob.get<FixedState>());
  auto xsave = TRY(blob.get_bytes());
  // The kernel reads its own size whatever we hold.
  if (xsave.size() != xsave_size_) {
    return Error{Errc::kUnsupported, 0, "the saved XSAVE state has another host's size"};
  }
  auto msrs = TRY(parse_msrs(TRY(blob.get_bytes())));
  TRY(blob.finish());

  TRY(write_until_lapic(fd_, state, xsave));
  TRY(restore_msrs(msrs));
  TRY(abi::call(fd_, KVM_SET_VCPU_EVENTS, &state.events, "KVM refuses the saved events"));
  return {};
}

}  // namespace bulkhead::kvm
