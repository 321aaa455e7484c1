// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "kvm/abi.h"
#include "kvm/vm.h"

// The interrupt half of Vm, and its doorbells.

namespace bulkhead::kvm {

namespace {

constexpr std::uint32_t low_half(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}
constexpr std::uint32_t high_half(std::uint64_t value) {
  return static_cast<std::uint32_t>(value >> 32);
}

kvm_irq_routing_entry to_kernel(const Route& route) {
  kvm_irq_routing_entry entry{};
  entry.gsi = route.gsi;
  if (const auto* pin = std::get_if<IrqPin>(&route.target)) {
    entry.type = KVM_IRQ_ROUTING_IRQCHIP;
    entry.u.irqchip = {.irqchip = static_cast<std::uint32_t>(pin->chip), .pin = pin->pin};
  } else {
    const auto& msi = std::get<Msi>(route.target);
    entry.type = KVM_IRQ_ROUTING_MSI;
    entry.u.msi.address_lo = low_half(msi.address);
    entry.u.msi.address_hi = high_half(msi.address);
    entry.u.msi.data = msi.data;
  }
  return entry;
}

Result<void> irqfd(const Fd& vm, std::uint32_t gsi, const Fd& event, std::uint32_t flags) {
  kvm_irqfd request{};
  request.fd = static_cast<std::uint32_t>(event.get());
  request.gsi = gsi;
  request.flags = flags;
  TRY(abi::call(vm, KVM_IRQFD, &request, "cannot connect an eventfd to an interrupt"));
  return {};
}

}  // namespace

Result<void> Vm::set_irq_line(std::uint32_t gsi, bool level) const {
  kvm_irq_level request{};
  request.irq = gsi;
  request.level = level ? 1 : 0;
  TRY(abi::call(fd_, KVM_IRQ_LINE, &request, "cannot set an interrupt line"));
  return {};
}

Result<bool> Vm::signal_msi(const Msi& msi) const {
  kvm_msi request{};
  request.address_lo = low_half(msi.address);
  request.address_hi = high_half(msi.address);
  request.data = msi.data;
  int delivered = TRY(abi::call(fd_, KVM_SIGNAL_MSI, &request, "cannot deliver an MSI"));
  return delivered > 0;
}

Result<void> Vm::set_routes(std::span<const Route> routes) const {
  constexpr std::size_t kMaxRoutes = 4096;  // KVM_MAX_IRQ_ROUTES
  if (routes.size() > kMaxRoutes) return Error{Errc::kExhausted, 0, "too many interrupt routes"};
  abi::RoutingHeader header{.nr = static_cast<std::uint32_t>(routes.size()), .flags = 0};
  std::vector<std::byte> request(sizeof header + routes.size() * sizeof(kvm_irq_routing_entry));
  std::memcpy(request.data(), &header, sizeof header);
  std::byte* next = request.data() + sizeof header;
  for (const Route& route : routes) {
    kvm_irq_routing_entry entry = to_kernel(route);
    std::memcpy(next, &entry, sizeof entry);
    next += sizeof entry;
  }
  TRY(abi::call(fd_, abi::kSetGsiRouting, request.data(), "KVM refuses the interrupt routes"));
  return {};
}

Result<void> Vm::assign_irqfd(std::uint32_t gsi, const Fd& event) const {
  return irqfd(fd_, gsi, event, 0);
}

Result<void> Vm::deassign_irqfd(std::uint32_t gsi, const Fd& event) const {
  return irqfd(fd_, gsi, event, KVM_IRQFD_FLAG_DEASSIGN);
}

Result<void> Vm::ioeventfd(const IoEvent& io_event, const Fd& event, std::uint32_t flags) const {
  kvm_ioeventfd request{};
  if (const auto* port = std::get_if<PortAddr>(&io_event.address)) {
    request.addr = port->value();
    flags |= KVM_IOEVENTFD_FLAG_PIO;
  } else {
    request.addr = std::get<Gpa>(io_event.address).value();
  }
  if (io_event.datamatch) flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
  request.datamatch = io_event.datamatch.value_or(0);
  request.len = io_event.length_bytes;
  request.fd = event.get();
  request.flags = flags;
  TRY(abi::call(fd_, KVM_IOEVENTFD, &request, "cannot connect a doorbell to an eventfd"));
  return {};
}

Result<void> Vm::assign_ioeventfd(const IoEvent& io_event, const Fd& event) const {
  return ioeventfd(io_event, event, 0);
}

Result<void> Vm::deassign_ioeventfd(const IoEvent& io_event, const Fd& event) const {
  return ioeventfd(io_event, event, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

}  // namespace bulkhead::kvm
