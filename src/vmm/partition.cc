// SPDX-License-Identifier: Apache-2.0
#include "vmm/partition.h"

#include <variant>

#include "base/log.h"
#include "boot/layout.h"
#include "boot/loader.h"
#include "kvm/cpuid.h"
#include "kvm/entry.h"

namespace bulkhead {
namespace {

// VT-x keeps a task state and a page table in guest-physical space; as every PC monitor does, ours
// lie just below the firmware area at the top of 4 GiB, where no RAM slot ever is.
constexpr Gpa kIdentityMap{0xfffbc000};
constexpr Gpa kTaskState{0xfffbd000};

// With `reboot=panic_warm` (our default) a panicking Linux asks for a warm start here, where an
// ordinary reboot asks for a cold one: arch/x86/kernel/reboot.c, native_machine_emergency_restart.
constexpr Gpa kRebootFlag{0x472};
constexpr std::uint16_t kWarmReboot = 0x1234;

// Slot numbers from here are not RAM's (KVM allows 32,764 of them).
constexpr std::uint32_t kConfigPageSlots = 32000;

// How much memory gets huge pages before the guest starts; the rest is left to the host's policy.
constexpr std::uint64_t kHugePagesAtStart = 1 * kGiB;

}  // namespace

Result<std::unique_ptr<Partition>> Partition::create(const LaunchSpec& spec, const Host& host) {
  std::unique_ptr<Partition> partition(new Partition(spec, host, TRY(host.kvm.create_vm())));
  TRY(partition->set_up_vm());
  TRY(partition->set_up_devices());
  TRY(partition->set_up_processors());
  return partition;
}

Partition::~Partition() {
  if (vcpus_ != nullptr) vcpus_->stop();
}

Result<void> Partition::set_up_vm() {
  memory_ = TRY(GuestMemory::create(
      {.size_bytes = spec_.memory_bytes, .backing = spec_.backing, .lock = spec_.lock_memory}));
  for (const MemoryRegion& region : memory_->regions()) {
    memory_->populate_huge(region.base, std::min(region.size_bytes, kHugePagesAtStart));
  }
  TRY(vm_.set_identity_map_address(kIdentityMap));
  TRY(vm_.set_tss_address(kTaskState));
  TRY(vm_.create_irqchip());
  TRY(vm_.create_pit());
  TRY(vm_.disable_pmu());
  TRY(vm_.enable_exit_on_emulation_failure());
  slots_.emplace(TRY(MemorySlots::create(vm_, *memory_)));
  irqs_ = TRY(IrqRouter::create(vm_));
  return {};
}

Result<void> Partition::set_up_devices() {
  chipset_ = TRY(
      Chipset::create({.ports = ports_, .irqs = *irqs_, .console = host_.console, .power = *this}));
  pci_ = TRY(PciDevices::create(spec_, {.memory = *memory_,
                                        .loop = host_.loop,
                                        .irqs = *irqs_,
                                        .doorbells = doorbells_,
                                        .mmio = mmio_,
                                        .console = host_.console,
                                        .power = *this}));
  TRY(show_config_pages());
  dispatcher_.emplace(ExitDispatcher::Targets{
      .ports = ports_, .mmio = mmio_, .memory = *memory_, .outcome = *this});
  return {};
}

// PCI configuration is read where it lies, from read-only slots: a quiet start of Linux saves some
// eight hundred exits.
Result<void> Partition::show_config_pages() {
  std::uint32_t id = kConfigPageSlots;
  for (const PciRoot::ConfigPage& page : TRY(pci_->show_config_pages())) {
    TRY(vm_.set_slot({.id = id++,
                      .base = boot::kPciEcam.base + page.ecam_offset,
                      .size_bytes = PciFunction::kConfigPageBytes,
                      .host = page.host,
                      .read_only = true}));
  }
  return {};
}

Result<void> Partition::set_up_processors() {
  boot::BootRequest request{.kernel_fd = spec_.kernel_fd,
                            .initrd_fd = std::nullopt,
                            .command_line = spec_.command_line,
                            .cpu_count = spec_.cpus,
                            .pci_window64 = boot::pci_window64(spec_.memory_bytes)};
  if (spec_.initrd_fd >= 0) request.initrd_fd = spec_.initrd_fd;
  const boot::Entry entry = TRY(boot::load(*memory_, request));

  const kvm::CpuidTable supported = TRY(host_.kvm.supported_cpuid());
  const int deadline = TRY(host_.kvm.capability(kvm::Capability::kTscDeadlineTimer));
  std::vector<kvm::Vcpu> vcpus;
  for (std::uint32_t id = 0; id < spec_.cpus; ++id) {
    kvm::Vcpu vcpu = TRY(vm_.create_vcpu(id));
    TRY(vcpu.set_cpuid(make_guest_cpuid(supported, {.vcpu_id = id,
                                                    .vcpu_count = spec_.cpus,
                                                    .tsc_khz = vcpu.tsc_khz().value_or(0),
                                                    .tsc_deadline = deadline > 0})));
    TRY(kvm::prepare(vcpu));
    vcpus.push_back(std::move(vcpu));
  }
  TRY(std::visit([&](const auto& start) { return kvm::enter(vcpus[0], start); }, entry));
  vcpus_ = TRY(VcpuGroup::create(std::move(vcpus), *dispatcher_, *this));
  return {};
}

void Partition::finish(Outcome outcome) {
  int none = -1;
  if (outcome_.compare_exchange_strong(none, static_cast<int>(outcome))) host_.loop.stop();
}

void Partition::reset() {
  const bool warm = memory_->load<std::uint16_t>(kRebootFlag).value_or(0) == kWarmReboot;
  finish(warm ? Outcome::kPanicked : Outcome::kReset);
}

// The guest writes its own crash dump, and resets or powers off when it is done.
void Partition::crash_loaded() {
  log_warning("guest_crash", {{"name", spec_.name}});
}

std::optional<Outcome> Partition::outcome() const {
  const int outcome = outcome_.load();
  if (outcome < 0) return std::nullopt;
  return static_cast<Outcome>(outcome);
}

}  // namespace bulkhead
