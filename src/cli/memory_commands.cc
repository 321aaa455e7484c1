// SPDX-License-Identifier: Apache-2.0
// suspend, resume, resize, shared: what a running partition's memory is asked for.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <sstream>
#include <thread>

#include "base/address.h"
#include "cli/commands.h"
#include "cli/control_client.h"
#include "cli/error.h"
#include "cli/option_values.h"
#include "cli/partition_config.h"
#include "cli/runtime_dir.h"

namespace bulkhead::cli {
namespace {

constexpr std::uint64_t kMaxPeek = 4096;
constexpr int kResizeSeconds = 60;

// Hexadecimal digits as bytes, to standard output.
void write_bytes(const std::string& digits) {
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    std::putchar(static_cast<int>(std::strtoul(digits.substr(i, 2).c_str(), nullptr, 16)));
  }
}

void read_shared(ControlClient& client, const std::string& range) {
  const std::size_t colon = range.find(':');
  if (colon == std::string::npos) throw UsageError("--read takes ADDRESS:LENGTH, in bytes");
  constexpr Limits<std::uint64_t> kAny{0, ~std::uint64_t{0}};
  auto from = parse_number<std::uint64_t>("--read", range.substr(0, colon), kAny);
  auto left = parse_number<std::uint64_t>("--read", range.substr(colon + 1), {1, kGiB});
  while (left > 0) {
    const std::uint64_t part = std::min(left, kMaxPeek);
    write_bytes(client.ask("peek " + std::to_string(from) + " " + std::to_string(part)));
    from += part;
    left -= part;
  }
}

// Each range is the words "range=FIRST_PAGE,PAGES,GRANTEE,RIGHTS,HANDLE".
void print_shared(const std::string& answer) {
  std::printf("%-18s %10s %-12s %-6s %s\n", "ADDRESS", "BYTES", "GRANTEE", "RIGHTS", "HANDLE");
  std::istringstream words(answer);
  for (std::string word; words >> word;) {
    const std::vector<std::string> parts = split_commas(word.substr(word.find('=') + 1));
    if (parts.size() < 5) continue;
    const std::string grantee = parts[2] == "0" ? "host" : "partition " + parts[2];
    std::printf("%-18llu %10llu %-12s %-6s %s\n",
                std::strtoull(parts[0].c_str(), nullptr, 10) * kPageSize,
                std::strtoull(parts[1].c_str(), nullptr, 10) * kPageSize, grantee.c_str(),
                parts[3].c_str(), parts[4].c_str());
  }
}

// Waits while the guest gets nearer to what it was asked for.
bool wait_for_size(ControlClient& client, std::uint64_t wanted) {
  std::uint64_t last = 0;
  for (int quiet_s = 0; quiet_s < kResizeSeconds; ++quiet_s) {
    const auto fields = parse_status(client.ask("status"));
    const std::uint64_t now = number(fields, "memory_bytes");
    if (now == wanted) return true;
    if (const auto state = fields.find("state");
        state != fields.end() && state->second != "running") {
      throw HostError("the guest follows when it runs again: it is " + state->second);
    }
    if (now != last) {
      std::fprintf(stderr, "bulkhead: the guest has %s of %s\n", mib_text(now).c_str(),
                   mib_text(wanted).c_str());
      quiet_s = 0;
    }
    last = now;
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
  return false;
}

}  // namespace

int suspend_command(const std::string& name) {
  const RuntimeDir runtime = RuntimeDir::open();
  ControlClient client(runtime, name);
  client.ask_patiently("suspend", "sealing");
  const auto fields = parse_status(client.ask("status"));
  std::printf("%s is suspended: %s sealed, %llu bytes of its memory left in RAM\n", name.c_str(),
              mib_text(number(fields, "sealed_bytes")).c_str(),
              static_cast<unsigned long long>(number(fields, "resident_bytes")));
  return kExitOk;
}

int resume_command(const std::string& name) {
  const RuntimeDir runtime = RuntimeDir::open();
  ControlClient(runtime, name).ask_patiently("resume", "resuming");
  return kExitOk;
}

int resize_command(const ResizeOptions& options) {
  const std::uint64_t wanted = parse_size("SIZE", options.size);
  const RuntimeDir runtime = RuntimeDir::open();
  ControlClient client(runtime, options.name);
  client.ask("resize " + std::to_string(wanted));
  if (options.no_wait) return kExitOk;
  if (wait_for_size(client, wanted)) {
    std::printf("%s has %s\n", options.name.c_str(), mib_text(wanted).c_str());
    return kExitOk;
  }
  const std::uint64_t now = number(parse_status(client.ask("status")), "memory_bytes");
  throw HostError("the guest of '" + options.name + "' has " + mib_text(now) + ", not " +
                  mib_text(wanted) +
                  "; is its driver virtio_mem loaded, and is memory free in it and on the host?");
}

int shared_command(const SharedOptions& options) {
  const RuntimeDir runtime = RuntimeDir::open();
  ControlClient client(runtime, options.name);
  if (options.read.empty()) {
    print_shared(client.ask("shared"));
  } else {
    read_shared(client, options.read);
  }
  return kExitOk;
}

}  // namespace bulkhead::cli
