// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/address.h"
#include "base/fd.h"
#include "base/result.h"

// What devices need of the partition's interrupt controllers and of KVM's event plumbing, so that
// they can be tested without either. All methods are thread-safe.

namespace bulkhead {

// A wire to the PIC and I/O APIC.
class InterruptLine {
 public:
  virtual ~InterruptLine() = default;
  virtual void set_level(bool high) = 0;
};

struct MsiMessage {
  std::uint64_t address = 0;
  std::uint32_t data = 0;
  bool operator==(const MsiMessage&) const = default;
};

// One message-signalled interrupt: an eventfd that KVM turns into the message (irqfd).
class MsiVector {
 public:
  virtual ~MsiVector() = default;
  // What trigger() sends from now on.
  virtual Result<void> program(const MsiMessage& message) = 0;
  virtual void trigger() = 0;
};

class MsiController {
 public:
  virtual ~MsiController() = default;
  virtual Result<std::unique_ptr<MsiVector>> create_vector() = 0;
};

// A write of `length` bytes at `address` that KVM answers by signalling an eventfd, without an exit
// to user space (ioeventfd). With `value`, only writes of that value count. A length of 0 stands
// for any length, without a value: KVM need not decode the instruction then.
struct Doorbell {
  Gpa address;
  std::uint32_t length = 0;
  std::optional<std::uint64_t> value;
};

class DoorbellController {
 public:
  virtual ~DoorbellController() = default;
  virtual Result<void> attach(const Doorbell& doorbell, const Fd& event) = 0;
  virtual void detach(const Doorbell& doorbell, const Fd& event) = 0;
};

}  // namespace bulkhead
