// SPDX-License-Identifier: Apache-2.0
#include "vmm/irq_router.h"

#include <algorithm>

#include "base/log.h"

namespace bulkhead {
namespace {

// The PC's wiring: a pin of the PICs and one of the I/O APIC per GSI, but the timer's IRQ 0 enters
// the I/O APIC at pin 2 (the MADT says so), whose own IRQ is the PICs' cascade.
std::vector<kvm::Route> pin_routes() {
  std::vector<kvm::Route> routes;
  for (std::uint32_t gsi = 0; gsi < IrqRouter::kPins; ++gsi) {
    if (gsi == 2) continue;
    if (gsi < 8) routes.push_back({gsi, kvm::IrqPin{kvm::IrqChip::kPicMaster, gsi}});
    if (gsi >= 8 && gsi < 16) {
      routes.push_back({gsi, kvm::IrqPin{kvm::IrqChip::kPicSlave, gsi - 8}});
    }
    routes.push_back({gsi, kvm::IrqPin{kvm::IrqChip::kIoapic, gsi == 0 ? 2 : gsi}});
  }
  return routes;
}

}  // namespace

class IrqRouter::Vector final : public MsiVector {
 public:
  Vector(IrqRouter& router, std::uint32_t gsi, Fd event)
      : router_(router), gsi_(gsi), event_(std::move(event)) {}
  ~Vector() override {
    if (assigned_) (void)router_.vm_.deassign_irqfd(gsi_, event_);
    router_.release(gsi_);
  }

  // The route first: an irqfd without one would lose what it is signalled meanwhile.
  Result<void> program(const MsiMessage& message) override {
    TRY(router_.set_target(gsi_, message));
    if (assigned_) return {};
    TRY(router_.vm_.assign_irqfd(gsi_, event_));
    assigned_ = true;
    return {};
  }

  void trigger() override { signal_event(event_.get()); }

 private:
  IrqRouter& router_;
  const std::uint32_t gsi_;
  const Fd event_;
  bool assigned_ = false;
};

class IrqRouter::Line final : public InterruptLine {
 public:
  Line(const kvm::Vm& vm, std::uint32_t gsi) : vm_(vm), gsi_(gsi) {}
  void set_level(bool high) override {
    Result<void> set = vm_.set_irq_line(gsi_, high);
    if (!set) log_failure("irq_line", set.error(), {{"gsi", gsi_}});
  }

 private:
  const kvm::Vm& vm_;
  const std::uint32_t gsi_;
};

Result<std::unique_ptr<IrqRouter>> IrqRouter::create(const kvm::Vm& vm) {
  std::unique_ptr<IrqRouter> router(new IrqRouter(vm));
  MutexLock lock(router->mutex_);
  router->routes_ = pin_routes();
  TRY(vm.set_routes(router->routes_));
  return router;
}

Result<std::unique_ptr<MsiVector>> IrqRouter::create_vector() {
  Fd event = TRY(Fd::event());
  MutexLock lock(mutex_);
  const auto free =
      static_cast<std::uint32_t>(std::find(used_.begin(), used_.end(), false) - used_.begin());
  if (free == kMaxVectors) return Error{Errc::kExhausted, 0, "too many MSI vectors"};
  if (free == used_.size()) used_.push_back(false);
  used_[free] = true;
  return std::unique_ptr<MsiVector>(new Vector(*this, kPins + free, std::move(event)));
}

std::unique_ptr<InterruptLine> IrqRouter::line(std::uint32_t gsi) {
  CHECK(gsi < kPins);
  return std::make_unique<Line>(vm_, gsi);
}

Result<void> IrqRouter::set_target(std::uint32_t gsi, const MsiMessage& message) {
  MutexLock lock(mutex_);
  const kvm::Route route{gsi, kvm::Msi{message.address, message.data}};
  auto known = std::find_if(routes_.begin(), routes_.end(),
                            [&](const kvm::Route& candidate) { return candidate.gsi == gsi; });
  if (known != routes_.end()) {
    *known = route;
  } else {
    routes_.push_back(route);
  }
  return vm_.set_routes(routes_);
}

void IrqRouter::release(std::uint32_t gsi) {
  MutexLock lock(mutex_);
  std::erase_if(routes_, [&](const kvm::Route& route) { return route.gsi == gsi; });
  used_[gsi - kPins] = false;
}

Result<void> KvmDoorbells::attach(const Doorbell& doorbell, const Fd& event) {
  return vm_.assign_ioeventfd({doorbell.address, doorbell.length, doorbell.value}, event);
}

void KvmDoorbells::detach(const Doorbell& doorbell, const Fd& event) {
  Result<void> detached =
      vm_.deassign_ioeventfd({doorbell.address, doorbell.length, doorbell.value}, event);
  if (!detached) log_failure("doorbell", detached.error(), {{"gpa", doorbell.address}});
}

}  // namespace bulkhead
