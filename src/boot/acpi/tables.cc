// SPDX-License-Identifier: Apache-2.0
#include "boot/acpi/tables.h"

#include <algorithm>

#include "boot/acpi/table.h"
#include "devices/acpi_pm.h"
#include "devices/rtc.h"
#include "devices/tpm_crb.h"

namespace bulkhead::boot::acpi {
namespace {

#include "dsdt.h"  // made from dsdt.asl by iasl: dsdt_aml_code[]

constexpr std::size_t kRsdpBytes = 36;
constexpr std::size_t kTableAlignment = 64;  // what the FACS needs; generous for the others

// Places finished tables one behind the other, and knows their addresses.
class Area {
 public:
  explicit Area(Gpa base) : base_(base), bytes_(kRsdpBytes) {}

  Gpa place(std::span<const std::byte> table) {
    bytes_.resize(align_up(bytes_.size(), kTableAlignment));
    const Gpa at = base_ + bytes_.size();
    bytes_.insert(bytes_.end(), table.begin(), table.end());
    return at;
  }

  // ACPI 6.5 §5.2.5.3.
  std::vector<std::byte> finish(Gpa xsdt) && {
    constexpr std::size_t kFirstVersionBytes = 20;
    const std::span rsdp = std::span(bytes_).first(kRsdpBytes);
    std::ranges::copy(std::as_bytes(std::span(std::string_view("RSD PTR "))), rsdp.begin());
    std::ranges::copy(std::as_bytes(std::span(std::string_view("BULKHD"))), rsdp.begin() + 9);
    put_le(rsdp, 15, std::uint8_t{2});
    put_le(rsdp, 20, static_cast<std::uint32_t>(kRsdpBytes));
    put_le(rsdp, 24, xsdt.value());
    put_le(rsdp, 8, checksum(rsdp.first(kFirstVersionBytes)));
    put_le(rsdp, 32, checksum(rsdp));
    return std::move(bytes_);
  }

 private:
  Gpa base_;
  std::vector<std::byte> bytes_;
};

// §5.2.10: memory that firmware and kernel share. There is no firmware, but its absence is an error
// to a kernel that does not know the hardware-reduced mode.
std::vector<std::byte> make_facs() {
  std::vector<std::byte> facs(64);
  std::ranges::copy(std::as_bytes(std::span(std::string_view("FACS"))), facs.begin());
  put_le(std::span(facs), 4, static_cast<std::uint32_t>(facs.size()));
  put_le(std::span(facs), 32, std::uint8_t{2});
  return facs;
}

// §5.2.3.2, Generic Address Structure, for an I/O port.
struct PortRegister {
  std::uint16_t port;
  std::uint8_t bytes;
};
void set_register(TableBuilder& table, std::size_t at, const PortRegister& reg) {
  constexpr std::uint8_t kSystemIo = 1;
  constexpr std::uint8_t kByteAccess = 1;
  constexpr std::uint8_t kWordAccess = 2;
  table.set(at, kSystemIo).set(at + 1, static_cast<std::uint8_t>(reg.bytes * 8));
  table.set(at + 3, reg.bytes == 1 ? kByteAccess : kWordAccess)
      .set(at + 4, std::uint64_t{reg.port});
}

// §5.2.9, the offsets are the specification's. ACPI mode is always on: there is no SMI_CMD. The
// power management timer is not told: guests have the TSC and kvmclock, and its probe would cost
// exits.
std::vector<std::byte> make_fadt(Gpa facs, Gpa dsdt) {
  constexpr std::size_t kFadtBytes = 276;
  constexpr std::uint8_t kEnterpriseServer = 4;
  constexpr std::uint16_t kNoC2 = 101;   // microseconds: more than 100 means there is none
  constexpr std::uint16_t kNoC3 = 1001;  // more than 1000
  // IA-PC Boot Architecture Flags: no VGA, no ASPM. Without the 8042 flag nobody probes for one.
  constexpr std::uint16_t kBootArch = (1U << 2) | (1U << 4);
  // WBINVD works, C1 on all processors, no sleep button, RESET_REG works.
  constexpr std::uint32_t kFlags = (1U << 0) | (1U << 2) | (1U << 5) | (1U << 10);
  TableBuilder fadt({.signature = "FACP", .revision = 6});
  fadt.add_zeros(kFadtBytes - TableBuilder::kHeaderBytes);
  fadt.set(36, static_cast<std::uint32_t>(facs.value()));
  fadt.set(40, static_cast<std::uint32_t>(dsdt.value()));
  fadt.set(45, kEnterpriseServer).set(46, static_cast<std::uint16_t>(acpi_pm::kSciGsi));
  fadt.set(56, std::uint32_t{acpi_pm::kPm1aEventPort});
  fadt.set(64, std::uint32_t{acpi_pm::kPm1aControlPort});
  fadt.set(88, acpi_pm::kPm1aEventLength).set(89, acpi_pm::kPm1aControlLength);
  fadt.set(96, kNoC2).set(98, kNoC3);
  fadt.set(108, Rtc::kCenturyIndex).set(109, kBootArch).set(112, kFlags);
  set_register(fadt, 116, {acpi_pm::kResetPort, 1});
  fadt.set(128, acpi_pm::kResetValue);
  fadt.set(140, dsdt.value());
  set_register(fadt, 148, {acpi_pm::kPm1aEventPort, acpi_pm::kPm1aEventLength});
  set_register(fadt, 172, {acpi_pm::kPm1aControlPort, acpi_pm::kPm1aControlLength});
  return std::move(fadt).finish();
}

void add_interrupt_override(TableBuilder& madt, std::uint8_t isa_irq, std::uint32_t gsi,
                            std::uint16_t flags) {
  madt.add(std::uint8_t{2}).add(std::uint8_t{10}).add(std::uint8_t{0});
  madt.add(isa_irq).add(gsi).add(flags);
}

// §5.2.12. The number at the start of each entry is its type, then comes its length.
std::vector<std::byte> make_madt(std::uint32_t cpu_count) {
  constexpr std::uint32_t kEnabled = 1;
  constexpr std::uint32_t kPcatCompat = 1;  // there is a pair of 8259, too
  constexpr std::uint32_t kFirstX2Apic = 255;
  constexpr std::uint16_t kActiveHighLevel = 0x000d;
  TableBuilder madt({.signature = "APIC", .revision = 5});
  madt.add(static_cast<std::uint32_t>(kLocalApicBase.value())).add(kPcatCompat);
  for (std::uint32_t cpu = 0; cpu < cpu_count; ++cpu) {
    if (cpu < kFirstX2Apic) {
      const auto id = static_cast<std::uint8_t>(cpu);
      madt.add(std::uint8_t{0}).add(std::uint8_t{8}).add(id).add(id).add(kEnabled);
    } else {
      madt.add(std::uint8_t{9}).add(std::uint8_t{16}).add(std::uint16_t{0});
      madt.add(cpu).add(kEnabled).add(cpu);
    }
  }
  madt.add(std::uint8_t{1}).add(std::uint8_t{12}).add(std::uint8_t{0}).add(std::uint8_t{0});
  madt.add(static_cast<std::uint32_t>(kIoapicBase.value())).add(std::uint32_t{0});
  add_interrupt_override(madt, 0, 2, 0);  // the PIT, as on every PC
  add_interrupt_override(madt, acpi_pm::kSciGsi, acpi_pm::kSciGsi, kActiveHighLevel);
  // LINT1 of every local APIC is the NMI.
  madt.add(std::uint8_t{4}).add(std::uint8_t{6}).add(std::uint8_t{0xff});
  madt.add(std::uint16_t{0}).add(std::uint8_t{1});
  return std::move(madt).finish();
}

// PCI Firmware Specification 3.3 §4.1.2.
std::vector<std::byte> make_mcfg() {
  TableBuilder mcfg({.signature = "MCFG", .revision = 1});
  mcfg.add(std::uint64_t{0});
  mcfg.add(kPciEcam.base.value()).add(std::uint16_t{0});                 // segment group
  mcfg.add(std::uint8_t{0}).add(std::uint8_t{0}).add(std::uint32_t{0});  // buses 0 to 0
  return std::move(mcfg).finish();
}

// What dsdt.asl declares as External: Name (P64B, 0x…) and so on.
std::vector<std::byte> make_ssdt(const PciWindow& window, bool tpm) {
  constexpr std::uint8_t kNameOp = 0x08;  // ACPI 6.5 §20.2
  constexpr std::uint8_t kQWordPrefix = 0x0e;
  TableBuilder ssdt({.signature = "SSDT", .revision = 2});
  const auto add_name = [&](std::string_view name, std::uint64_t value) {
    ssdt.add(kNameOp).add(name).add(kQWordPrefix).add(value);
  };
  add_name("P64B", window.base.value());
  add_name("P64E", window.base.value() + window.size_bytes - 1);
  add_name("P64L", window.size_bytes);
  add_name("TPMP", tpm ? 1 : 0);
  return std::move(ssdt).finish();
}

// TCG ACPI Specification 1.4, "TPM2 Table". The log's area lies in memory that nobody else uses.
std::vector<std::byte> make_tpm2() {
  constexpr std::uint16_t kClientPlatform = 0;
  constexpr std::uint32_t kCommandResponseBuffer = 7;
  constexpr std::size_t kStartMethodParameters = 12;
  TableBuilder tpm2({.signature = "TPM2", .revision = 4});
  tpm2.add(kClientPlatform).add(std::uint16_t{0}).add(tpm_crb::kControlArea.value());
  tpm2.add(kCommandResponseBuffer).add_zeros(kStartMethodParameters);
  tpm2.add(static_cast<std::uint32_t>(kEventLogCapacity)).add(kEventLogBase.value());
  return std::move(tpm2).finish();
}

}  // namespace

std::vector<std::byte> make_tables(Gpa base, const Config& config) {
  Area area(base);
  const Gpa facs = area.place(make_facs());
  const Gpa dsdt = area.place(std::as_bytes(std::span(dsdt_aml_code)));
  TableBuilder xsdt({.signature = "XSDT", .revision = 1});
  const auto list = [&](std::span<const std::byte> table) { xsdt.add(area.place(table).value()); };
  list(make_fadt(facs, dsdt));
  list(make_madt(config.cpu_count));
  list(make_mcfg());
  list(make_ssdt(config.pci_window64, config.tpm));
  if (config.tpm) list(make_tpm2());
  for (const auto& table : config.extra_tables) list(table);
  const Gpa xsdt_at = area.place(std::move(xsdt).finish());
  return std::move(area).finish(xsdt_at);
}

Result<LoadedRange> write_tables(GuestMemory& memory, const Config& config) {
  const std::vector<std::byte> bytes = make_tables(kAcpiBase, config);
  if (bytes.size() > kAcpiCapacity) {
    return Error{Errc::kExhausted, 0, "the ACPI tables do not fit below 1 MiB"};
  }
  TRY(memory.write(kAcpiBase, bytes));
  return LoadedRange{kAcpiBase, bytes.size()};
}

}  // namespace bulkhead::boot::acpi
