// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "base/event_loop.h"
#include "boot/loader.h"
#include "devices/bus.h"
#include "devices/power_events.h"
#include "devices/tpm_crb.h"
#include "kvm/system.h"
#include "kvm/vm.h"
#include "mem/frame_source.h"
#include "mem/guest_memory.h"
#include "vmm/chipset.h"
#include "vmm/console_hub.h"
#include "vmm/control_server.h"
#include "vmm/exit_dispatcher.h"
#include "vmm/growth.h"
#include "vmm/irq_router.h"
#include "vmm/launch_spec.h"
#include "vmm/ledger_grants.h"
#include "vmm/measured_boot.h"
#include "vmm/memory_slots.h"
#include "vmm/outcome.h"
#include "vmm/pci_devices.h"
#include "vmm/sealing.h"
#include "vmm/tpm_process.h"
#include "vmm/vcpu_group.h"

namespace bulkhead {

// One virtual machine, from its memory to its processors. A reboot makes a new one.
class Partition final : public OutcomeSink, private PowerEvents {
 public:
  struct Host {
    const kvm::System& kvm;
    EventLoop& loop;
    ConsoleHub& console;
    FrameSource& frames;
    TpmProcess* tpm = nullptr;  // started; null: the partition has none
  };

  // Everything but running processors: memory, devices, loaded kernel.
  static Result<std::unique_ptr<Partition>> create(const LaunchSpec& spec, const Host& host);
  ~Partition() override;

  void run() { vcpus_->run(); }
  // Any thread. The first outcome counts; it stops the event loop.
  void finish(Outcome outcome) override;
  std::optional<Outcome> outcome() const;

  VcpuPause pause() { return vcpus_->pause(); }

  // Stops the guest and seals memory, processors and TPM. From then until wake() has returned, the
  // event loop must serve nothing that could touch guest memory. An error leaves the guest running.
  Result<void> suspend();
  // An error ends the partition: what was sealed did not come back.
  Result<void> wake();
  bool suspended() const { return suspended_.has_value(); }
  // Asks the guest for so much memory in all.
  Result<void> resize(std::uint64_t memory_bytes);
  // Fills in what of the status is about memory.
  void describe_memory(PartitionStatus& status);
  std::string shared() const;
  Result<void> read_shared(Gpa from, std::span<std::byte> to) const;
  VcpuGroup& vcpus() { return *vcpus_; }
  MemorySlots& slots() { return *slots_; }
  Chipset& chipset() { return *chipset_; }

 private:
  Partition(const LaunchSpec& spec, const Host& host, kvm::Vm vm)
      : spec_(spec), host_(host), vm_(std::move(vm)) {}
  void power_off() override { finish(Outcome::kPoweredOff); }
  void reset() override;
  void panicked() override { finish(Outcome::kPanicked); }
  void crash_loaded() override;

  Result<void> set_up_memory();
  Result<void> set_up_vm();
  Result<std::unique_ptr<Sealing>> create_sealing();
  Result<void> set_up_devices();
  Result<void> show_config_pages();
  Result<void> set_up_processors();
  Result<boot::Entry> load();
  Result<void> measure(const MeasuredStart& start);
  Result<void> park_tpm();
  Result<void> unpark_tpm();
  void note_sealed(bool sealed);
  Result<void> seal_processors(const VcpuPause& pause);
  Result<void> wipe_processors(const VcpuPause& pause);
  Result<void> open_processors(const VcpuPause& pause);

  // The wiring diagram: each member may use those above it.
  const LaunchSpec& spec_;
  const Host host_;
  std::atomic<int> outcome_ = -1;
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<Sealing> sealing_;  // from the start with a limit, or from the first suspension
  kvm::Vm vm_;
  std::optional<MemorySlots> slots_;
  std::optional<Growth> growth_;
  std::optional<LedgerGrants> grants_;
  std::unique_ptr<IrqRouter> irqs_;
  KvmDoorbells doorbells_{vm_};
  Bus ports_{std::uint64_t{1} << 16};
  Bus mmio_{std::uint64_t{1} << 52};
  std::unique_ptr<Chipset> chipset_;
  std::unique_ptr<TpmCrb> tpm_;
  std::unique_ptr<PciDevices> pci_;
  std::optional<ExitDispatcher> dispatcher_;
  std::unique_ptr<VcpuGroup> vcpus_;
  std::optional<VcpuPause> suspended_;
};

}  // namespace bulkhead
