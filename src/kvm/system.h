// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "kvm/capability.h"
#include "kvm/cpuid.h"
#include "kvm/vm.h"

namespace bulkhead::kvm {

// An open /dev/kvm whose API version is the one (12) that every kernel since 2.6.22 has.
class System {
 public:
  static Result<System> open(const char* path = "/dev/kvm");
  // The same for a descriptor that another process has opened.
  static Result<System> adopt(Fd fd);

  // 0: absent. What a positive number means is the capability's own business.
  Result<int> capability(Capability capability) const;
  Result<Vm> create_vm() const;
  // What KVM and the processor can give a guest: the input of make_guest_cpuid().
  Result<CpuidTable> supported_cpuid() const;
  // The MSRs that belong to a vCPU's saved state, on this host.
  Result<std::vector<std::uint32_t>> saved_msrs() const;

 private:
  System(Fd fd, std::size_t run_size_bytes) : fd_(std::move(fd)), run_size_(run_size_bytes) {}

  Fd fd_;
  std::size_t run_size_;
};

}  // namespace bulkhead::kvm
