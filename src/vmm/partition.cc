// SPDX-License-Identifier: Apache-2.0
#include "vmm/partition.h"

#include <cstring>
#include <limits>
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
  TRY(partition->set_up_memory());
  TRY(partition->set_up_vm());
  TRY(partition->set_up_devices());
  TRY(partition->set_up_processors());
  return partition;
}

Partition::~Partition() {
  // A vCPU that waits for a page which cannot be opened would never stop, whatever the outcome.
  if (sealing_ != nullptr) sealing_->release_faults();
  if (vcpus_ != nullptr) vcpus_->stop();
}

Result<void> Partition::set_up_memory() {
  memory_ = TRY(GuestMemory::create({.size_bytes = spec_.memory_bytes,
                                     .backing = spec_.backing,
                                     .lock = spec_.lock_memory,
                                     .max_bytes = spec_.max_memory_bytes},
                                    host_.frames));
  if (spec_.seal.resident_bytes > 0) {
    sealing_ = TRY(create_sealing());  // pages come one by one from now on
  } else {
    for (const MemoryRegion& region : memory_->regions()) {
      memory_->populate_huge(region.base, std::min(region.size_bytes, kHugePagesAtStart));
    }
  }
  return {};
}

Result<void> Partition::set_up_vm() {
  TRY(vm_.set_identity_map_address(kIdentityMap));
  TRY(vm_.set_tss_address(kTaskState));
  TRY(vm_.create_irqchip());
  TRY(vm_.create_pit());
  TRY(vm_.disable_pmu());
  TRY(vm_.enable_exit_on_emulation_failure());
  slots_.emplace(TRY(MemorySlots::create(vm_, *memory_)));
  growth_.emplace(*memory_, *slots_, sealing_);
  grants_.emplace(*memory_, host_.frames);
  irqs_ = TRY(IrqRouter::create(vm_));
  return {};
}

Result<void> Partition::set_up_devices() {
  chipset_ = TRY(
      Chipset::create({.ports = ports_, .irqs = *irqs_, .console = host_.console, .power = *this}));
  if (host_.tpm != nullptr) {
    tpm_ = TRY(TpmCrb::create(*host_.tpm));
    TRY(mmio_.add({tpm_crb::kBase.value(), tpm_crb::kBytes}, *tpm_));
  }
  pci_ = TRY(PciDevices::create(spec_, {.memory = *memory_,
                                        .loop = host_.loop,
                                        .irqs = *irqs_,
                                        .doorbells = doorbells_,
                                        .mmio = mmio_,
                                        .console = host_.console,
                                        .power = *this,
                                        .growth = *growth_,
                                        .grants = *grants_}));
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

// With a TPM the kernel is loaded from a copy, which is what was measured; so is an initrd of which
// there is one.
Result<boot::Entry> Partition::load() {
  boot::BootRequest request{.kernel_fd = spec_.kernel_fd,
                            .initrd_fd = std::nullopt,
                            .command_line = spec_.command_line,
                            .cpu_count = spec_.cpus,
                            .pci_window64 = boot::pci_window64(memory_->layout()),
                            .tpm = host_.tpm != nullptr};
  if (spec_.initrd_fd >= 0) request.initrd_fd = spec_.initrd_fd;
  if (host_.tpm == nullptr) return TRY(boot::load(*memory_, request)).entry;
  const MeasuredCopy kernel = TRY(host_.tpm->measurer().copy(spec_.kernel_fd));
  request.kernel_fd = kernel.fd();
  std::optional<MeasuredCopy> initrd;
  if (spec_.initrd_fd >= 0) initrd = host_.tpm->measurer().copy_of_daemon(spec_.initrd_fd);
  if (initrd) request.initrd_fd = initrd->fd();
  const boot::Loaded loaded = TRY(boot::load(*memory_, request));
  TRY(measure({spec_, *memory_, loaded, kernel, initrd ? &*initrd : nullptr}));
  return loaded.entry;
}

Result<void> Partition::measure(const MeasuredStart& start) {
  return boot::write_event_log(*memory_, TRY(measure_start(start, *host_.tpm)));
}

Result<void> Partition::set_up_processors() {
  const boot::Entry entry = TRY(load());

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

Result<std::unique_ptr<Sealing>> Partition::create_sealing() {
  return Sealing::create(spec_.seal, {.memory = *memory_, .outcome = *this, .cpus = spec_.cpus});
}

// The processors are wiped last: until then nothing is lost that has no copy in memory.
Result<void> Partition::suspend() {
  VcpuPause pause = vcpus_->pause();
  TRY(pci_->quiesce());
  if (sealing_ == nullptr) sealing_ = TRY(create_sealing());
  TRY(park_tpm());
  Result<void> sealed = seal_processors(pause);
  if (sealed) sealed = sealing_->seal_all();
  if (!sealed) {
    Result<void> opened = sealing_->open_all();
    if (opened) opened = unpark_tpm();
    if (!opened) finish(Outcome::kFailed);
    return sealed;
  }
  note_sealed(true);
  suspended_.emplace(std::move(pause));
  Result<void> wiped = wipe_processors(*suspended_);
  if (!wiped) TRY(wake());
  return wiped;
}

Result<void> Partition::wake() {
  note_sealed(false);
  Result<void> opened = sealing_->open_all();
  if (opened) opened = open_processors(*suspended_);
  if (opened) opened = unpark_tpm();
  if (!opened) {
    log_failure("wake_failed", opened.error(), {{"name", spec_.name}});
    finish(Outcome::kFailed);
    return opened;
  }
  suspended_.reset();
  return {};
}

// The processors stand still: a command that is under way is the last one.
Result<void> Partition::park_tpm() {
  if (tpm_ == nullptr) return {};
  tpm_->quiesce();
  return host_.tpm->park();
}

Result<void> Partition::unpark_tpm() {
  return tpm_ == nullptr ? Result<void>() : host_.tpm->unpark();
}

// The ledger's knowledge of it is for people; what is sealed does not depend on it.
void Partition::note_sealed(bool sealed) {
  if (Result<void> noted = host_.frames.note_sealed(sealed); !noted) {
    log_failure("ledger_not_told", noted.error(), {{"name", spec_.name}});
  }
}

Result<void> Partition::seal_processors(const VcpuPause& pause) {
  for (unsigned cpu = 0; cpu < spec_.cpus; ++cpu) {
    TRY(sealing_->seal_processor(cpu, TRY(vcpus_->vcpu(pause, cpu).data())));
  }
  return {};
}

Result<void> Partition::wipe_processors(const VcpuPause& pause) {
  for (unsigned cpu = 0; cpu < spec_.cpus; ++cpu) TRY(vcpus_->vcpu(pause, cpu).wipe_data());
  return {};
}

Result<void> Partition::open_processors(const VcpuPause& pause) {
  for (unsigned cpu = 0; cpu < spec_.cpus; ++cpu) {
    std::vector<std::byte> data = TRY(sealing_->open_processor(cpu));
    const Result<void> put_back = vcpus_->vcpu(pause, cpu).put_back_data(data);
    ::explicit_bzero(data.data(), data.size());
    TRY(put_back);
    // Refused by a guest that has no kvmclock: then it has no use for it.
    if (Result<void> told = vcpus_->vcpu(pause, cpu).announce_pause(); !told) {
      log_info("pause_not_announced", {{"vcpu", cpu}});
    }
  }
  return {};
}

Result<void> Partition::resize(std::uint64_t memory_bytes) {
  return pci_->resize(memory_bytes);
}

void Partition::describe_memory(PartitionStatus& status) {
  pci_->describe_memory(status);
  const std::optional<Sealing::Amounts> amounts =
      sealing_ == nullptr ? std::nullopt : sealing_->amounts();
  status.resident_bytes = amounts ? amounts->resident_bytes : status.memory_bytes;
  status.sealed_bytes = amounts ? amounts->sealed_bytes : 0;
}

std::string Partition::shared() const {
  std::string text;
  auto from = std::uint32_t{0};
  while (const std::optional<HeldGrant> held = grants_->next(GrantHandle(from))) {
    const Grant& grant = held->grant;
    const auto handle = static_cast<std::uint32_t>(held->handle);
    text.append(" range=").append(std::to_string(grant.first.value()));
    text.append(",").append(std::to_string(grant.pages));
    text.append(",").append(std::to_string(static_cast<std::uint32_t>(grant.grantee)));
    text.append(grant.rights.read ? ",r" : ",").append(grant.rights.write ? "w" : "");
    text.append(",").append(std::to_string(handle));
    if (handle == std::numeric_limits<std::uint32_t>::max()) break;
    from = handle + 1;
  }
  return text;
}

Result<void> Partition::read_shared(Gpa from, std::span<std::byte> to) const {
  return grants_->in_force().read(GranteeId::kHostTools, from, to);
}

}  // namespace bulkhead
