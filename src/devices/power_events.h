// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace bulkhead {

// What the guest asks of, or tells about, the machine as a whole. Called on vCPU threads, without
// any lock of the device, in the middle of the access that caused it. Thread-safe.
class PowerEvents {
 public:
  virtual ~PowerEvents() = default;
  // ACPI soft off (S5).
  virtual void power_off() = 0;
  // By any of the ways a PC has: ACPI reset register, port 0xcf9, keyboard controller.
  virtual void reset() = 0;
  // The guest's kernel panicked, and expects the monitor to act.
  virtual void panicked() = 0;
  // The guest's kernel panicked, and deals with it itself (kdump): to be recorded only.
  virtual void crash_loaded() = 0;
};

}  // namespace bulkhead
