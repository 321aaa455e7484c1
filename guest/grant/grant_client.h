// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <utility>

#include "base/address.h"
#include "base/fd.h"
#include "base/mapping.h"
#include "base/result.h"
#include "devices/grant.h"
#include "devices/grant_registers.h"

namespace bulkhead::guest {

// Drives the grant device (docs/formats/grant-device.md) from a program of the guest's root. Holds
// the device for as long as it exists: other programs wait in open().
class GrantClient {
 public:
  static Result<GrantClient> open();

  Result<GrantHandle> grant(const Grant& grant);
  Result<void> revoke(GrantHandle handle);
  Result<void> revoke_all();

 private:
  GrantClient(Fd file, Mapping registers)
      : file_(std::move(file)), registers_(std::move(registers)) {}

  template <class T>
  T read(std::uint64_t offset) const;
  template <class T>
  void write(std::uint64_t offset, T value);
  Result<void> run(grant_device::Command command);

  Fd file_;  // resource0, locked
  Mapping registers_;
};

}  // namespace bulkhead::guest
