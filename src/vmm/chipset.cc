// SPDX-License-Identifier: Apache-2.0
#include "vmm/chipset.h"

namespace bulkhead {

Chipset::Chipset(const Wiring& wiring)
    : serial_line_(wiring.irqs.line(Serial::kIrq)),
      sci_line_(wiring.irqs.line(acpi_pm::kSciGsi)),
      serial_(*serial_line_, wiring.console),
      power_(*sci_line_, wiring.power),
      reset_(wiring.power),
      keyboard_(wiring.power) {}

Result<std::unique_ptr<Chipset>> Chipset::create(const Wiring& wiring) {
  std::unique_ptr<Chipset> chipset(new Chipset(wiring));
  Bus& ports = wiring.ports;
  TRY(ports.add({Serial::kBasePort, Serial::kPortCount}, chipset->serial_));
  TRY(ports.add({Rtc::kBasePort, Rtc::kPortCount}, chipset->rtc_));
  TRY(ports.add({acpi_pm::kBasePort, acpi_pm::kPortCount}, chipset->power_));
  TRY(ports.add({I8042::kBasePort, I8042::kPortCount}, chipset->keyboard_));
  TRY(ports.add({ResetControl::kPort, 1}, chipset->reset_));
  return chipset;
}

}  // namespace bulkhead
