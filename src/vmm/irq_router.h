// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/thread_annotations.h"
#include "devices/interrupts.h"
#include "kvm/vm.h"

namespace bulkhead {

// Wires devices to KVM's interrupt controllers: GSIs 0 to 23 are the pins of PIC and I/O APIC, each
// MSI vector gets a GSI of its own after them, signalled through an eventfd.
class IrqRouter final : public MsiController {
 public:
  static constexpr std::uint32_t kPins = 24;
  static constexpr std::uint32_t kMaxVectors = 1024;  // KVM_MAX_IRQ_ROUTES is 4096

  // `vm` has its irqchip and outlives the router; the router outlives its vectors and lines.
  static Result<std::unique_ptr<IrqRouter>> create(const kvm::Vm& vm);

  Result<std::unique_ptr<MsiVector>> create_vector() override;
  std::unique_ptr<InterruptLine> line(std::uint32_t gsi);

 private:
  class Vector;
  class Line;

  explicit IrqRouter(const kvm::Vm& vm) : vm_(vm) {}
  Result<void> set_target(std::uint32_t gsi, const MsiMessage& message) EXCLUDES(mutex_);
  void release(std::uint32_t gsi) EXCLUDES(mutex_);

  const kvm::Vm& vm_;
  Mutex mutex_;
  std::vector<kvm::Route> routes_ GUARDED_BY(mutex_);
  std::vector<bool> used_ GUARDED_BY(mutex_);  // by vector number
};

// KVM's ioeventfds, for devices.
class KvmDoorbells final : public DoorbellController {
 public:
  explicit KvmDoorbells(const kvm::Vm& vm) : vm_(vm) {}
  Result<void> attach(const Doorbell& doorbell, const Fd& event) override;
  void detach(const Doorbell& doorbell, const Fd& event) override;

 private:
  const kvm::Vm& vm_;
};

}  // namespace bulkhead
