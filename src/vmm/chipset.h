// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "devices/acpi_pm.h"
#include "devices/bus.h"
#include "devices/console_backend.h"
#include "devices/power_events.h"
#include "devices/reset_ports.h"
#include "devices/rtc.h"
#include "devices/serial.h"
#include "vmm/irq_router.h"

namespace bulkhead {

// What a PC has at fixed ports: serial port, clock, power management, keyboard controller.
class Chipset {
 public:
  struct Wiring {
    Bus& ports;
    IrqRouter& irqs;
    ConsoleBackend& console;
    PowerEvents& power;
  };

  static Result<std::unique_ptr<Chipset>> create(const Wiring& wiring);

  void press_power_button() { power_.press_power_button(); }

 private:
  explicit Chipset(const Wiring& wiring);

  std::unique_ptr<InterruptLine> serial_line_;
  std::unique_ptr<InterruptLine> sci_line_;
  Serial serial_;
  Rtc rtc_;
  AcpiPm power_;
  ResetControl reset_;
  I8042 keyboard_;
};

}  // namespace bulkhead
