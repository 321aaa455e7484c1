// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "base/event_loop.h"
#include "devices/bus.h"
#include "devices/power_events.h"
#include "kvm/system.h"
#include "kvm/vm.h"
#include "mem/guest_memory.h"
#include "vmm/chipset.h"
#include "vmm/console_hub.h"
#include "vmm/exit_dispatcher.h"
#include "vmm/irq_router.h"
#include "vmm/launch_spec.h"
#include "vmm/memory_slots.h"
#include "vmm/outcome.h"
#include "vmm/pci_devices.h"
#include "vmm/vcpu_group.h"

namespace bulkhead {

// One virtual machine, from its memory to its processors. A reboot makes a new one.
class Partition final : public OutcomeSink, private PowerEvents {
 public:
  struct Host {
    const kvm::System& kvm;
    EventLoop& loop;
    ConsoleHub& console;
  };

  // Everything but running processors: memory, devices, loaded kernel.
  static Result<std::unique_ptr<Partition>> create(const LaunchSpec& spec, const Host& host);
  ~Partition() override;

  void run() { vcpus_->run(); }
  // Any thread. The first outcome counts; it stops the event loop.
  void finish(Outcome outcome) override;
  std::optional<Outcome> outcome() const;

  VcpuPause pause() { return vcpus_->pause(); }
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

  Result<void> set_up_vm();
  Result<void> set_up_devices();
  Result<void> show_config_pages();
  Result<void> set_up_processors();

  // The wiring diagram: each member may use those above it.
  const LaunchSpec& spec_;
  const Host host_;
  std::atomic<int> outcome_ = -1;
  std::unique_ptr<GuestMemory> memory_;
  kvm::Vm vm_;
  std::optional<MemorySlots> slots_;
  std::unique_ptr<IrqRouter> irqs_;
  KvmDoorbells doorbells_{vm_};
  Bus ports_{std::uint64_t{1} << 16};
  Bus mmio_{std::uint64_t{1} << 52};
  std::unique_ptr<Chipset> chipset_;
  std::unique_ptr<PciDevices> pci_;
  std::optional<ExitDispatcher> dispatcher_;
  std::unique_ptr<VcpuGroup> vcpus_;
};

}  // namespace bulkhead
