// SPDX-License-Identifier: Apache-2.0
#include "vmm/measured_boot.h"

#include <algorithm>

#include "measure/event_log_writer.h"
#include "vtpm/platform.h"

namespace bulkhead {
namespace {

static_assert(kEventLogAreaBytes == boot::kEventLogCapacity);

Result<DigestSet> measure_memory(const GuestMemory& memory, const boot::LoadedRange& range) {
  MultiHash hash = TRY(MultiHash::create(kMeasuredBanks));
  std::vector<std::byte> buffer(64 * kKiB);
  for (std::uint64_t done = 0; done < range.size_bytes;) {
    const auto piece =
        std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), range.size_bytes - done));
    TRY(memory.read(range.base + done, piece));
    TRY(hash.update(piece));
    done += piece.size();
  }
  return std::move(hash).finish();
}

Result<LaunchFacts> facts_of(const MeasuredStart& start, const TpmProcess& tpm) {
  LaunchFacts facts;
  facts.monitor = tpm.identity();
  facts.config = measured_config(start.spec, tpm.state());
  facts.acpi_tables = TRY(measure_memory(start.memory, start.loaded.acpi_tables));
  facts.kernel = start.kernel.digests();
  facts.command_line = start.spec.command_line;
  if (start.initrd != nullptr) {
    facts.initrd = start.initrd->digests();
  } else if (start.loaded.initrd.size_bytes > 0) {
    facts.initrd = TRY(measure_memory(start.memory, start.loaded.initrd));
  }
  return facts;
}

}  // namespace

Result<std::vector<std::byte>> measure_start(const MeasuredStart& start, TpmProcess& tpm) {
  vtpm::Platform platform(tpm);
  EventLogWriter log = TRY(EventLogWriter::create({.banks = kMeasuredBanks}));
  for (const LogEvent& event : TRY(measure_launch(TRY(facts_of(start, tpm))))) {
    TRY(platform.extend(event.pcr, event.digests));
    TRY(log.append(event));
  }
  TRY(platform.give_up_authority());
  return std::vector<std::byte>(log.log().begin(), log.log().end());
}

}  // namespace bulkhead
