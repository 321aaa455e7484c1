// SPDX-License-Identifier: Apache-2.0
#include "boot/acpi/tables.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <string>

#include "base/byte_reader.h"
#include "boot/acpi/table.h"
#include "devices/acpi_pm.h"

namespace bulkhead::boot::acpi {
namespace {

using Bytes = std::vector<std::byte>;

// Follows the pointers from the RSDP like a guest does, checking every checksum on the way.
class Tables {
 public:
  explicit Tables(const Config& config) : area_(make_tables(kAcpiBase, config)) {
    const std::span rsdp = std::span(area_).first(36);
    EXPECT_EQ(text(rsdp.first(8)), "RSD PTR ");
    EXPECT_EQ(checksum(rsdp.first(20)), 0);
    EXPECT_EQ(checksum(rsdp), 0);
    const Bytes xsdt = table_at(get_le<std::uint64_t>(rsdp, 24));
    EXPECT_EQ(text(std::span(xsdt).first(4)), "XSDT");
    for (std::size_t at = TableBuilder::kHeaderBytes; at < xsdt.size(); at += 8) {
      add(get_le<std::uint64_t>(xsdt, at));
    }
    add(get_le<std::uint64_t>(tables_.at("FACP"), 140));
  }

  const Bytes& operator[](const std::string& signature) const { return tables_.at(signature); }
  const std::map<std::string, Bytes>& all() const { return tables_; }
  std::size_t size() const { return area_.size(); }
  std::span<const std::byte> at(std::uint64_t address, std::size_t length) const {
    EXPECT_TRUE(range_fits(address - kAcpiBase.value(), length, area_.size()));
    return std::span(area_).subspan(address - kAcpiBase.value(), length);
  }
  static std::string text(std::span<const std::byte> bytes) {
    std::string text;
    for (std::byte byte : bytes) text.push_back(static_cast<char>(byte));
    return text;
  }

 private:
  Bytes table_at(std::uint64_t address) const {
    const auto length = get_le<std::uint32_t>(at(address, 8), 4);
    const auto bytes = at(address, length);
    EXPECT_EQ(checksum(bytes), 0) << text(bytes.first(4));
    return {bytes.begin(), bytes.end()};
  }
  void add(std::uint64_t address) {
    Bytes table = table_at(address);
    const std::string signature = text(std::span(table).first(4));
    EXPECT_TRUE(tables_.emplace(signature, std::move(table)).second) << signature;
  }

  Bytes area_;
  std::map<std::string, Bytes> tables_;
};

constexpr Config kConfig{.cpu_count = 4, .pci_window64 = {Gpa{8 * kGiB}, 64 * kGiB}};
constexpr Config kTpmConfig{
    .cpu_count = 4, .pci_window64 = {Gpa{8 * kGiB}, 64 * kGiB}, .tpm = true};

TEST(AcpiTables, AreAllReachableAndSumToZero) {
  const Tables tables(kConfig);
  EXPECT_EQ(tables.all().size(), 5U);
  for (const char* signature : {"FACP", "APIC", "MCFG", "SSDT", "DSDT"}) {
    EXPECT_EQ(tables.all().count(signature), 1U) << signature;
  }
}

TEST(AcpiTables, TheFadtNamesTheMachinesPorts) {
  const Tables tables(kConfig);
  const Bytes& fadt = tables["FACP"];
  ASSERT_EQ(fadt.size(), 276U);
  EXPECT_EQ(get_le<std::uint16_t>(fadt, 46), 9);
  EXPECT_EQ(get_le<std::uint32_t>(fadt, 48), 0U);  // SMI_CMD
  EXPECT_EQ(get_le<std::uint32_t>(fadt, 56), 0x600U);
  EXPECT_EQ(get_le<std::uint64_t>(fadt, 148 + 4), 0x600U);
  EXPECT_EQ(get_le<std::uint8_t>(fadt, 148 + 1), 32);
  EXPECT_EQ(get_le<std::uint32_t>(fadt, 64), 0x604U);
  EXPECT_EQ(get_le<std::uint64_t>(fadt, 172 + 4), 0x604U);
  EXPECT_EQ(get_le<std::uint8_t>(fadt, 172 + 1), 16);
  EXPECT_EQ(get_le<std::uint8_t>(fadt, 116), 1);  // RESET_REG is an I/O port
  EXPECT_EQ(get_le<std::uint64_t>(fadt, 116 + 4), acpi_pm::kResetPort);
  EXPECT_EQ(get_le<std::uint8_t>(fadt, 128), acpi_pm::kResetValue);
  EXPECT_NE(get_le<std::uint32_t>(fadt, 112) & (1U << 10), 0U);
  EXPECT_EQ(get_le<std::uint32_t>(fadt, 40), get_le<std::uint64_t>(fadt, 140));
  const auto facs = get_le<std::uint32_t>(fadt, 36);
  EXPECT_EQ(facs % 64, 0U);
  EXPECT_EQ(Tables::text(tables.at(facs, 4)), "FACS");
}

// Walks the MADT's entries by their lengths.
TEST(AcpiTables, TheMadtListsProcessorsAndInterrupts) {
  for (std::uint32_t cpus : {1U, 4U, 16U, 300U}) {
    const Tables tables({.cpu_count = cpus, .pci_window64 = kConfig.pci_window64});
    const Bytes& madt = tables["APIC"];
    EXPECT_EQ(get_le<std::uint32_t>(madt, 36), 0xfee00000U);
    std::map<int, std::uint32_t> found;
    std::uint32_t next_id = 0;
    for (std::size_t at = 44; at < madt.size(); at += get_le<std::uint8_t>(madt, at + 1)) {
      ASSERT_GE(get_le<std::uint8_t>(madt, at + 1), 2);
      const int type = get_le<std::uint8_t>(madt, at);
      ++found[type];
      if (type == 0) {
        EXPECT_EQ(get_le<std::uint8_t>(madt, at + 3), next_id++);
      }
      if (type == 9) {
        EXPECT_EQ(get_le<std::uint32_t>(madt, at + 4), next_id++);
      }
    }
    EXPECT_EQ(next_id, cpus);
    EXPECT_EQ(found[0], std::min(cpus, 255U));
    EXPECT_EQ(get_le<std::uint32_t>(madt, 40), 1U);  // PCAT_COMPAT
    EXPECT_EQ(found[1], 1U);
    EXPECT_EQ(found[2], 2U);
    EXPECT_EQ(found[4], 1U);  // LINT1 is the NMI
  }
}

TEST(AcpiTables, TheMcfgNamesTheEcam) {
  const Tables tables(kConfig);
  const Bytes& mcfg = tables["MCFG"];
  ASSERT_EQ(mcfg.size(), 60U);
  EXPECT_EQ(get_le<std::uint64_t>(mcfg, 44), kPciEcam.base.value());
  EXPECT_EQ(get_le<std::uint8_t>(mcfg, 54), 0);
  EXPECT_EQ(get_le<std::uint8_t>(mcfg, 55), 0);
}

TEST(AcpiTables, TheSsdtNamesThePciWindow) {
  const Tables tables(kConfig);
  const std::string ssdt = Tables::text(tables["SSDT"]);
  const auto value_of = [&](const std::string& name) {
    const std::size_t at = ssdt.find("\x08" + name + "\x0e");
    EXPECT_NE(at, std::string::npos);
    return get_le<std::uint64_t>(tables["SSDT"], at + 6);
  };
  EXPECT_EQ(value_of("P64B"), 8 * kGiB);
  EXPECT_EQ(value_of("P64E"), 72 * kGiB - 1);
  EXPECT_EQ(value_of("P64L"), 64 * kGiB);
}

// The sleep type that the guest writes is the one that the power management device acts on.
TEST(AcpiTables, TheDsdtOffersSoftOff) {
  const Tables tables(kConfig);
  const std::string dsdt = Tables::text(tables["DSDT"]);
  const std::size_t at = dsdt.find("_S5_");
  ASSERT_NE(at, std::string::npos);
  // PackageOp, length, 4 elements, BytePrefix, SLP_TYPa
  EXPECT_EQ(dsdt.substr(at + 4, 4), std::string("\x12\x08\x04\x0a"));
  EXPECT_EQ(dsdt[at + 8], acpi_pm::kSleepTypeS5);
}

TEST(AcpiTables, TheTpmIsThereWhenItIsThere) {
  const auto present = [](const Tables& tables) {
    const std::string ssdt = Tables::text(tables["SSDT"]);
    const std::size_t at = ssdt.find("\x08TPMP\x0e");
    EXPECT_NE(at, std::string::npos);
    return get_le<std::uint64_t>(tables["SSDT"], at + 6);
  };
  const Tables without(kConfig);
  EXPECT_EQ(without.all().count("TPM2"), 0U);
  EXPECT_EQ(present(without), 0U);
  const Tables tables(kTpmConfig);
  EXPECT_EQ(present(tables), 1U);
  const Bytes& tpm2 = tables["TPM2"];
  ASSERT_EQ(tpm2.size(), 76U);
  EXPECT_EQ(get_le<std::uint8_t>(tpm2, 8), 4);  // revision
  EXPECT_EQ(get_le<std::uint64_t>(tpm2, 40), 0xfed40040U);
  EXPECT_EQ(get_le<std::uint32_t>(tpm2, 48), 7U);
  EXPECT_EQ(get_le<std::uint32_t>(tpm2, 64), 0x10000U);
  EXPECT_EQ(get_le<std::uint64_t>(tpm2, 68), 0xf0000U);
}

TEST(AcpiTables, ListFurtherTables) {
  TableBuilder builder({.signature = "SSD2", .revision = 4});
  builder.add(std::uint64_t{0x1234});
  const std::vector<Bytes> extra{std::move(builder).finish()};
  Config config = kConfig;
  config.extra_tables = extra;
  const Tables tables(config);
  EXPECT_EQ(get_le<std::uint64_t>(tables["SSD2"], 36), 0x1234U);
}

TEST(AcpiTables, FitBelowOneMiB) {
  EXPECT_LT(Tables({.cpu_count = 300, .pci_window64 = kConfig.pci_window64}).size(), kAcpiCapacity);
  auto memory = GuestMemory::create({.size_bytes = GuestMemory::kMinSize}).value();
  const LoadedRange written = write_tables(*memory, kConfig).value();
  EXPECT_EQ(written.base, kAcpiBase);
  EXPECT_EQ(written.size_bytes, make_tables(kAcpiBase, kConfig).size());
  const std::vector<Bytes> extra{Bytes(kAcpiCapacity)};
  Config config = kConfig;
  config.extra_tables = extra;
  EXPECT_EQ(write_tables(*memory, config).error().code, Errc::kExhausted);
}

// The compiler's own disassembler is the independent reader of what we built.
TEST(AcpiTables, AreReadableByTheAcpiCompiler) {
  if (std::system("command -v iasl >/dev/null") != 0) GTEST_SKIP() << "no iasl";
  const Tables tables(kTpmConfig);
  for (const auto& [signature, bytes] : tables.all()) {
    const std::string base = ::testing::TempDir() + "acpi-" + signature;
    std::ofstream(base + ".dat", std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
    const std::string command = "iasl -d \"" + base + ".dat\" >\"" + base +
                                ".log\" 2>&1 && ! grep -qi -e invalid -e "
                                "incorrect -e unknown \"" +
                                base + ".log\"";
    EXPECT_EQ(std::system(command.c_str()), 0) << signature << ": see " << base << ".log";
  }
}

}  // namespace
}  // namespace bulkhead::boot::acpi
