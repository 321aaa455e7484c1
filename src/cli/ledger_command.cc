// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <fstream>

#include "cli/commands.h"
#include "cli/daemon_client.h"
#include "cli/error.h"
#include "cli/host_memory.h"
#include "cli/ledger_report.h"
#include "cli/memory_picture.h"
#include "cli/runtime_dir.h"
#include "host/memory_layout.h"

namespace bulkhead::cli {
namespace {

// Of `ledger audit`; 2 is wrong usage everywhere.
constexpr int kExitFindings = 1;
constexpr int kExitCannotAudit = 3;

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void need_root(const std::string& what) {
  if (::geteuid() != 0) throw HostError(what + " needs root: run it with sudo");
}

// The daemon's files lie beside its socket.
HostMemory read_memory() {
  const std::string socket = daemon_socket();
  const std::string directory = socket.substr(0, socket.rfind('/'));
  if (const auto snapshot = ask_daemon(socket)) {
    HostMemory memory = memory_of_ledger(snapshot->view, host::Root(), directory);
    memory.audit.keepers.push_back(snapshot->daemon);
    return memory;
  }
  if (::geteuid() == 0) return memory_of_monitors(host::Root(), directory);
  return memory_of_own_partitions(RuntimeDir::open());
}

int show(const LedgerOptions& options) {
  const HostMemory memory = read_memory();
  print(options.json ? show_json(memory) : show_text(memory));
  return kExitOk;
}

// Tells on a terminal how far a long audit is.
class Progress {
 public:
  void operator()(std::size_t done, std::size_t total) {
    using namespace std::chrono_literals;
    const auto now = std::chrono::steady_clock::now();
    if (now - told_ < 1s) return;
    told_ = now;
    shown_ = true;
    std::fprintf(stderr, "\rprocess %zu of %zu ", done, total);
  }
  void end() const {
    if (shown_) std::fprintf(stderr, "\r\x1b[K");
  }

 private:
  std::chrono::steady_clock::time_point told_ = std::chrono::steady_clock::now();
  bool shown_ = false;
};

int audit(const LedgerOptions& options) {
  need_root("the audit reads the page tables of all processes, and");
  const HostMemory memory = read_memory();
  Progress progress;
  host::AuditProgress tell;
  if (::isatty(STDERR_FILENO) != 0) tell = std::ref(progress);
  const auto report = host::audit_memory(host::Root(), memory.audit, tell);
  progress.end();
  if (!report) {
    throw HostError(std::string("cannot audit: ") + report.error().what +
                    "; it needs a kernel with /proc/kpagecount, and root of the whole host");
  }
  print(options.json ? audit_json(memory, *report) : audit_text(memory, *report));
  if (!report->findings.empty()) return kExitFindings;
  return report->unreadable.empty() ? kExitOk : kExitCannotAudit;
}

// An error must not look like a finding.
int audit_or_say_why(const LedgerOptions& options) {
  try {
    return audit(options);
  } catch (const HostError& error) {
    print_error(error.what());
    return kExitCannotAudit;
  }
}

std::string host_name() {
  std::array<char, 65> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "this machine";
}

std::string time_text() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &parts);
  return text.data();
}

// "SVG" or "PNG", by the file's name.
bool is_png(const std::string& file) {
  if (file.ends_with(".png")) return true;
  if (file.ends_with(".svg")) return false;
  throw UsageError("'" + file + "' names no kind of picture; let --output end in .svg or .png");
}

void write_file(const std::string& name, const std::string& content) {
  std::ofstream file(name, std::ios::binary | std::ios::trunc);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  file.close();
  if (!file) throw HostError("cannot write '" + name + "'; choose another --output");
}

host::MemoryMap locate(const HostMemory& memory, const host::PhysicalLayout& layout,
                       const host::MapSize& size) {
  auto map = host::map_memory(host::Root(), memory.audit, layout, size);
  if (!map) throw HostError(std::string("cannot map memory: ") + map.error().what);
  return std::move(*map);
}

int map(const LedgerOptions& options) {
  const bool png = !options.output.empty() && is_png(options.output);
  need_root("the map reads page tables, and");
  const HostMemory memory = read_memory();
  const auto layout = host::physical_layout(host::Root());
  if (!layout) throw HostError(std::string("cannot map memory: ") + layout.error().what);
  MapCaption caption{.host = host_name(), .time = time_text(), .partitions = {}};
  for (const host::AuditPartition& partition : memory.audit.partitions) {
    caption.partitions.push_back(partition.name);
  }
  if (!options.output.empty()) {
    const host::MemoryMap cells = locate(memory, *layout, picture_size(layout->ram_bytes()));
    const Picture picture = draw_map(cells, caption);
    write_file(options.output, png ? to_png(picture) : to_svg(picture));
  }
  if (options.output.empty() || options.text) {
    print(text_map(locate(memory, *layout, kTextMapSize), caption));
  }
  return kExitOk;
}

}  // namespace

int ledger_command(const LedgerOptions& options) {
  if (options.action == "audit") return audit_or_say_why(options);
  if (options.action == "map") return map(options);
  return show(options);
}

}  // namespace bulkhead::cli
