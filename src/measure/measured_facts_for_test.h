// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "measure/event_log_for_test.h"
#include "measure/measured_launch.h"

namespace bulkhead {

inline LaunchFacts sample_facts() {
  const auto digests = [](std::string_view content) {
    return MultiHash::of(kMeasuredBanks, text_bytes(content)).value();
  };
  LaunchFacts facts;
  facts.monitor.version = "0.1.0";
  facts.monitor.programs = {{"bulkhead-vmm", Sha256::of(text_bytes("monitor")).value()},
                            {"bulkhead-vtpm", Sha256::of(text_bytes("vtpm")).value()}};
  facts.config.cpus = 2;
  facts.config.memory_bytes = 256 * kMiB;
  facts.config.rng = true;
  facts.config.nets = 1;
  facts.config.disks = {{MeasuredDisk::Kind::kSealed, false, "00112233445566778899aabbccddeeff"},
                        {MeasuredDisk::Kind::kPlain, true, "tools disk"}};
  facts.acpi_tables = digests("tables");
  facts.kernel = digests("kernel");
  facts.initrd = digests("initrd");
  facts.command_line = "console=ttyS0 root=\"/dev/vda\" quiet";
  return facts;
}

}  // namespace bulkhead
