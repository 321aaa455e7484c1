// SPDX-License-Identifier: Apache-2.0
#include "vmm/launch_facts.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "base/fd.h"
#include "boot/acpi/tables.h"
#include "boot/layout.h"
#include "measure/measured_file.h"

namespace bulkhead {
namespace {

Isolation isolation_of(Backing backing) {
  switch (backing) {
    case Backing::kMemfd:
      return Isolation::kMemfd;
    case Backing::kHugetlb:
      return Isolation::kHugetlb;
    case Backing::kCarved:
      return Isolation::kCarved;
  }
  return Isolation::kNone;
}

MeasuredDisk measured_disk(const DiskSpec& disk) {
  return {.kind = MeasuredDisk::Kind::kPlain, .read_only = disk.read_only, .identity = disk.serial};
}

Result<MeasuredProgram> identify(const char* name, const DigestSet& digests) {
  MeasuredProgram program{.name = name};
  const Digest* digest = find_digest(digests, HashAlgorithm::kSha256);
  if (digest == nullptr) return Error{Errc::kNotFound, 0, "a program has no SHA-256 digest"};
  std::ranges::copy(digest->bytes(), program.digest.begin());
  return program;
}

}  // namespace

Result<DigestSet> measure_program(int fd) {
  constexpr HashAlgorithm kSha256[] = {HashAlgorithm::kSha256};
  return measure_file(fd, kSha256);
}

Result<MonitorIdentity> identify_monitor(int vmm_fd, int vtpm_fd, const MeasureProgram& measure) {
  MonitorIdentity identity;
  identity.version = BULKHEAD_VERSION;
  identity.programs.push_back(TRY(identify("bulkhead-vmm", TRY(measure(vmm_fd)))));
  identity.programs.push_back(TRY(identify("bulkhead-vtpm", TRY(measure(vtpm_fd)))));
  return identity;
}

MeasuredConfig measured_config(const LaunchSpec& spec, TpmState tpm_state) {
  MeasuredConfig config{.isolation = isolation_of(spec.backing),
                        .debug = !spec.debug.empty(),
                        .cpus = spec.cpus,
                        .memory_bytes = spec.memory_bytes,
                        .max_memory_bytes = spec.max_memory_bytes,
                        .lock_memory = spec.lock_memory,
                        .resident_bytes = spec.seal.resident_bytes,
                        .compress = spec.seal.compress,
                        .rng = spec.rng,
                        .balloon = spec.balloon,
                        .vsock = spec.vsock.has_value(),
                        .nets = static_cast<unsigned>(spec.nets.size()),
                        .tpm_state = tpm_state,
                        .disks = {}};
  for (const DiskSpec& disk : spec.disks) config.disks.push_back(measured_disk(disk));
  return config;
}

Result<LaunchFacts> predict_facts(const LaunchSpec& spec, TpmState tpm_state,
                                  const MonitorIdentity& monitor) {
  const RamLayout ram = RamLayout::of(spec.memory_bytes, spec.max_memory_bytes);
  const std::vector<std::byte> tables = boot::acpi::make_tables(
      boot::kAcpiBase,
      {.cpu_count = spec.cpus, .pci_window64 = boot::pci_window64(ram), .tpm = true});
  LaunchFacts facts;
  facts.monitor = monitor;
  facts.config = measured_config(spec, tpm_state);
  facts.acpi_tables = TRY(MultiHash::of(kMeasuredBanks, tables));
  facts.kernel = TRY(measure_file(spec.kernel_fd, kMeasuredBanks));
  facts.command_line = spec.command_line;
  if (spec.initrd_fd >= 0) facts.initrd = TRY(measure_file(spec.initrd_fd, kMeasuredBanks));
  return facts;
}

Result<MeasuredCopy> MeasuredCopy::make(int file_fd) {
  Fd copy(::memfd_create("measured", MFD_CLOEXEC));
  if (!copy.valid()) return os_error("cannot make a copy of what is measured");
  MultiHash hash = TRY(MultiHash::create(kMeasuredBanks));
  TRY(read_through(file_fd, [&](std::span<const std::byte> bytes) -> Result<void> {
    TRY(write_all(copy.get(), bytes, "cannot copy what is measured"));
    return hash.update(bytes);
  }));
  return MeasuredCopy(std::move(copy), TRY(std::move(hash).finish()));
}

}  // namespace bulkhead
