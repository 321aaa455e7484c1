// SPDX-License-Identifier: Apache-2.0
#include "kvm/vm.h"

#include <algorithm>
#include <cstring>

#include "kvm/abi.h"
#include "kvm/state_blob.h"

namespace bulkhead::kvm {

namespace {

constexpr std::uint64_t kPagesPerWord = 64;
constexpr std::uint32_t kIrqchipBlobMagic = 0x43494842;  // "BHIC"

bool page_aligned(std::uint64_t value) {
  return align_down(value, kPageSize) == value;
}

Result<void> check_slot(const MemorySlot& slot) {
  if (slot.size_bytes == 0 || !page_aligned(slot.size_bytes) || !page_aligned(slot.base.value()) ||
      !page_aligned(slot.host.value())) {
    return Error{Errc::kInvalidArgument, 0, "a memory slot is empty or not page aligned"};
  }
  if (slot.size_bytes > UINT64_MAX - slot.base.value()) {
    return Error{Errc::kOutOfRange, 0, "a memory slot wraps around"};
  }
  return {};
}

Result<void> set_region(const Fd& vm, const kvm_userspace_memory_region& region) {
  TRY(abi::call(vm, KVM_SET_USER_MEMORY_REGION, &region, "KVM refuses a memory slot"));
  return {};
}

}  // namespace

Result<int> Vm::capability(Capability capability) const {
  return abi::call(fd_, KVM_CHECK_EXTENSION, static_cast<unsigned long>(capability),
                   "cannot ask KVM for a capability");
}

Result<void> Vm::enable_capability(Capability capability, std::span<const std::uint64_t> args) {
  kvm_enable_cap request{};
  request.cap = static_cast<std::uint32_t>(capability);
  CHECK(args.size() <= std::size(request.args));
  std::ranges::copy(args, std::begin(request.args));
  TRY(abi::call(fd_, KVM_ENABLE_CAP, &request, "KVM does not enable a capability"));
  return {};
}

Result<void> Vm::enable_exit_on_emulation_failure() {
  constexpr std::uint64_t kOn[] = {1};
  return enable_capability(Capability::kExitOnEmulationFailure, kOn);
}

Result<void> Vm::enable_x2apic_api() {
  constexpr std::uint64_t kFlags[] = {KVM_X2APIC_API_USE_32BIT_IDS |
                                      KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK};
  return enable_capability(Capability::kX2apicApi, kFlags);
}

Result<void> Vm::disable_pmu() {
  if (TRY(capability(Capability::kPmuCapability)) == 0) return {};
  constexpr std::uint64_t kFlags[] = {KVM_PMU_CAP_DISABLE};
  return enable_capability(Capability::kPmuCapability, kFlags);
}

Result<void> Vm::set_slot(const MemorySlot& slot) {
  TRY(check_slot(slot));
  // KVM would take an existing id as a move of that slot, which then keeps its dirty pages' place.
  if (slot_pages_.contains(slot.id)) return Error{Errc::kExists, 0, "the memory slot is in use"};
  std::uint32_t flags =
      (slot.read_only ? KVM_MEM_READONLY : 0) | (slot.log_dirty ? KVM_MEM_LOG_DIRTY_PAGES : 0);
  TRY(set_region(fd_, {.slot = slot.id,
                       .flags = flags,
                       .guest_phys_addr = slot.base.value(),
                       .memory_size = slot.size_bytes,
                       .userspace_addr = slot.host.value()}));
  slot_pages_.emplace(slot.id, slot.size_bytes / kPageSize);
  return {};
}

Result<void> Vm::delete_slot(std::uint32_t id) {
  if (!slot_pages_.contains(id)) return Error{Errc::kNotFound, 0, "no such memory slot"};
  kvm_userspace_memory_region region{};  // size 0
  region.slot = id;
  TRY(set_region(fd_, region));
  slot_pages_.erase(id);
  return {};
}

Result<void> Vm::enable_manual_dirty_clear() {
  constexpr std::uint64_t kFlags[] = {KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE};
  return enable_capability(Capability::kManualDirtyLogProtect2, kFlags);
}

Result<void> Vm::dirty_log(std::uint32_t slot_id, std::span<std::uint64_t> bitmap) const {
  auto slot = slot_pages_.find(slot_id);
  if (slot == slot_pages_.end()) return Error{Errc::kNotFound, 0, "no such memory slot"};
  std::uint64_t words = align_up(slot->second, kPagesPerWord) / kPagesPerWord;
  if (bitmap.size() < words) return Error{Errc::kOutOfRange, 0, "the dirty bitmap is too small"};
  kvm_dirty_log request{};
  request.slot = slot_id;
  request.dirty_bitmap = bitmap.data();
  TRY(abi::call(fd_, KVM_GET_DIRTY_LOG, &request, "cannot read a dirty log"));
  return {};
}

Result<void> Vm::clear_dirty_log(const DirtyRange& range, std::span<const std::uint64_t> bitmap) {
  std::uint64_t words = align_up(range.page_count, kPagesPerWord) / kPagesPerWord;
  if (bitmap.size() < words) return Error{Errc::kOutOfRange, 0, "the dirty bitmap is too small"};
  kvm_clear_dirty_log request{};
  request.slot = range.slot;
  request.num_pages = range.page_count;
  request.first_page = range.first_page;
  request.dirty_bitmap = const_cast<std::uint64_t*>(bitmap.data());  // the kernel only reads it
  TRY(abi::call(fd_, KVM_CLEAR_DIRTY_LOG, &request, "cannot clear a dirty log"));
  return {};
}

Result<void> Vm::set_tss_address(Gpa address) {
  TRY(abi::call(fd_, KVM_SET_TSS_ADDR, address.value(), "KVM refuses the TSS address"));
  return {};
}

Result<void> Vm::set_identity_map_address(Gpa address) {
  std::uint64_t value = address.value();
  TRY(abi::call(fd_, KVM_SET_IDENTITY_MAP_ADDR, &value, "KVM refuses the identity map address"));
  return {};
}

Result<void> Vm::create_irqchip() {
  TRY(abi::call(fd_, KVM_CREATE_IRQCHIP, 0UL, "KVM has no in-kernel interrupt controllers"));
  return {};
}

Result<void> Vm::create_pit() {
  kvm_pit_config config{};
  // Without a speaker of its own, port 0x61 would be the monitor's to answer.
  config.flags = KVM_PIT_SPEAKER_DUMMY;
  TRY(abi::call(fd_, KVM_CREATE_PIT2, &config, "KVM has no in-kernel timer"));
  has_pit_ = true;
  return {};
}

Result<Vcpu> Vm::create_vcpu(std::uint32_t id) const {
  int number = TRY(abi::call(fd_, KVM_CREATE_VCPU, static_cast<unsigned long>(id),
                             "cannot create a virtual processor"));
  Fd vcpu(number);
  // Before Linux 5.17 there is no XSAVE2, and the state is one page.
  int xsave_size = TRY(capability(Capability::kXsave2));
  Vcpu::Layout layout{
      .run_size = run_size_,
      .xsave_size = std::max(static_cast<std::size_t>(xsave_size), sizeof(abi::XsaveArea))};
  return Vcpu::create(std::move(vcpu), id, layout);
}

Result<std::uint64_t> Vm::clock_ns() const {
  kvm_clock_data data{};
  TRY(abi::call(fd_, KVM_GET_CLOCK, &data, "cannot read kvmclock"));
  return std::uint64_t{data.clock};
}

Result<void> Vm::set_clock_ns(std::uint64_t value) const {
  kvm_clock_data data{};
  data.clock = value;
  TRY(abi::call(fd_, KVM_SET_CLOCK, &data, "cannot set kvmclock"));
  return {};
}

Result<std::vector<std::byte>> Vm::save_irqchip() const {
  BlobWriter blob(kIrqchipBlobMagic);
  for (std::uint32_t chip = 0; chip < KVM_NR_IRQCHIPS; ++chip) {
    kvm_irqchip state{};
    state.chip_id = chip;
    TRY(abi::call(fd_, KVM_GET_IRQCHIP, &state, "cannot read an interrupt controller"));
    blob.put(state);
  }
  if (has_pit_) {
    kvm_pit_state2 pit{};
    TRY(abi::call(fd_, KVM_GET_PIT2, &pit, "cannot read the timer"));
    blob.put(pit);
  }
  return std::move(blob).take();
}

Result<void> Vm::restore_irqchip(std::span<const std::byte> bytes) const {
  auto blob = TRY(BlobReader::open(bytes, kIrqchipBlobMagic));
  std::array<kvm_irqchip, KVM_NR_IRQCHIPS> chips{};
  for (std::uint32_t chip = 0; chip < KVM_NR_IRQCHIPS; ++chip) {
    chips[chip] = TRY(blob.get<kvm_irqchip>());
    if (chips[chip].chip_id != chip) {
      return Error{Errc::kMalformed, 0, "saved interrupt controllers are out of order"};
    }
  }
  kvm_pit_state2 pit{};
  if (has_pit_) pit = TRY(blob.get<kvm_pit_state2>());
  TRY(blob.finish());
  for (const auto& chip : chips) {
    TRY(abi::call(fd_, KVM_SET_IRQCHIP, &chip, "KVM refuses an interrupt controller's state"));
  }
  if (has_pit_) TRY(abi::call(fd_, KVM_SET_PIT2, &pit, "KVM refuses the timer's state"));
  return {};
}

}  // namespace bulkhead::kvm
