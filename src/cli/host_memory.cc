// SPDX-License-Identifier: Apache-2.0
#include "cli/host_memory.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/address.h"
#include "cli/control_client.h"
#include "cli/error.h"
#include "host/monitors.h"
#include "vmm/launch_spec.h"

namespace bulkhead::cli {
namespace {

namespace fs = std::filesystem;
using host::AuditRegion;
using host::MemoryState;

// --- from the daemon's ledger ---

MemoryState state_of(FrameState state) {
  switch (state) {
    case FrameState::kOwned:
      return MemoryState::kOwned;
    case FrameState::kSealed:
      return MemoryState::kSealed;
    case FrameState::kShared:
      return MemoryState::kShared;
    case FrameState::kScrubbing:
      return MemoryState::kScrubbing;
    case FrameState::kFree:
    case FrameState::kWithheld:
      break;
  }
  return MemoryState::kFree;
}

// Field 22 of /proc/PID/stat, counted behind the name, which may contain anything.
std::uint64_t start_time(const host::Root& root, pid_t pid) {
  const std::string stat = root.text("/proc/" + std::to_string(pid) + "/stat").value_or("");
  const std::vector<std::string_view> fields =
      host::words(std::string_view(stat).substr(std::min(stat.rfind(')'), stat.size() - 1) + 1));
  constexpr std::size_t kPlace = 22 - 3;
  return fields.size() > kPlace ? host::parse_number(fields[kPlace]).value_or(0) : 0;
}

class LedgerReader {
 public:
  LedgerReader(const LedgerView& view, const host::Root& root, const std::string& runtime)
      : view_(view), root_(root), runtime_(runtime), grants_(view.grants()) {}

  HostMemory read() {
    memory_.whole_host = true;
    for (const PartitionRecord& record : view_.partitions()) add_partition(record);
    memory_.partitions.resize(memory_.audit.partitions.size());
    const std::vector<PoolRecord> pools = view_.pools();
    for (std::size_t i = 0; i < pools.size(); ++i) add_pool(i, pools[i]);
    return std::move(memory_);
  }

 private:
  // A number that another process has by now is nobody's.
  void add_partition(const PartitionRecord& record) {
    auto pid = static_cast<pid_t>(record.pid);
    if (start_time(root_, pid) != record.start_time) pid = 0;
    index_of_[record.id.slot] = memory_.audit.partitions.size();
    memory_.audit.partitions.push_back({.name = record.name, .pid = pid, .uid = record.uid});
  }

  void add_pool(std::size_t index, const PoolRecord& record) {
    memory_.pools.push_back({.backing = record.backing,
                             .node = record.numa_node,
                             .size_bytes = record.run.size_bytes(),
                             .totals = {}});
    const FrameRun& run = record.run;
    for (std::uint64_t done = 0; done < run.frames;) {
      const std::uint64_t frames = extent_length(run, done);
      add_extent(index, record, FrameRun{FrameIndex(done), frames});
      done += frames;
    }
  }

  // Frames from here to the next head: what was taken, or given back, as one.
  std::uint64_t extent_length(const FrameRun& pool, std::uint64_t first) const {
    const FrameRecord begin = view_.frame(pool.first + first);
    std::uint64_t next = first + 1;
    for (; next < pool.frames; ++next) {
      const FrameRecord frame = view_.frame(pool.first + next);
      const bool both_free = begin.state == FrameState::kFree && frame.state == FrameState::kFree;
      if (frame.head ||
          (!both_free && (frame.state == FrameState::kFree || begin.state == FrameState::kFree))) {
        break;
      }
    }
    return next - first;
  }

  // `extent` counts from the start of its pool, as the name of its file does.
  void add_extent(std::size_t pool, const PoolRecord& record, const FrameRun& extent) {
    AuditRegion whole{.size_bytes = kFrameSize};
    if (record.backing == Backing::kCarved) {
      whole.offset = record.physical_base + extent.first.value() * kFrameSize;
    } else {
      whole.file = file_of(record, extent);
    }
    const bool placed = record.backing == Backing::kCarved || whole.file->inode != 0;
    for (std::uint64_t i = 0; i < extent.frames; ++i) {
      const FrameRecord frame = view_.frame(record.run.first + extent.first.value() + i);
      AuditRegion region = whole;
      region.offset += i * kFrameSize;
      region.state = state_of(frame.state);
      if (frame.owner && index_of_.contains(*frame.owner))
        region.owner = index_of_.at(*frame.owner);
      memory_.pools[pool].totals.of(region.state) += kFrameSize;
      if (region.owner != host::kNoPartition) {
        memory_.partitions[region.owner].of(region.state) += kFrameSize;
      }
      if (placed) add_region(region, frame);
    }
  }

  // Neighbours of one owner become one region.
  void append(const AuditRegion& region) {
    std::vector<AuditRegion>& regions = memory_.audit.regions;
    if (!regions.empty()) {
      AuditRegion& last = regions.back();
      if (last.file == region.file && last.offset + last.size_bytes == region.offset &&
          last.state == region.state && last.owner == region.owner &&
          last.grantees == region.grantees) {
        last.size_bytes += region.size_bytes;
        return;
      }
    }
    regions.push_back(region);
  }

  // A frame is shared when any of its pages is: each page with its own grantees.
  void add_region(const AuditRegion& region, const FrameRecord& frame) {
    if (frame.state != FrameState::kShared || !frame.guest_frame || !frame.owner) {
      append(region);
      return;
    }
    for (std::uint64_t page = 0; page < ledger::kPagesPerFrame; ++page) {
      AuditRegion part = region;
      part.offset += page * kPageSize;
      part.size_bytes = kPageSize;
      part.grantees = grantees(
          *frame.owner, PageIndex(frame.guest_frame->value() * ledger::kPagesPerFrame + page));
      append(part);
    }
  }

  std::vector<std::size_t> grantees(std::uint16_t owner, PageIndex page) const {
    std::vector<std::size_t> found;
    for (const GrantRecord& grant : grants_) {
      const bool covers = grant.owner == owner && grant.pages.first <= page &&
                          page - grant.pages.first < grant.pages.count;
      if (!covers || !grant.grantee || !index_of_.contains(*grant.grantee)) continue;
      found.push_back(index_of_.at(*grant.grantee));
    }
    return found;
  }

  // Free frames have no file. One that is being taken, or has just gone, may have none either.
  host::FileId file_of(const PoolRecord& pool, const FrameRun& extent) const {
    const std::string path = pool_directory(runtime_, pool) + "/" +
                             std::to_string(extent.first.value()) + "-" +
                             std::to_string(extent.frames);
    struct stat status{};
    if (::stat(root_.path(path).c_str(), &status) != 0) return {};
    return {.device = status.st_dev, .inode = status.st_ino};
  }

  const LedgerView& view_;
  const host::Root& root_;
  const std::string& runtime_;
  const std::vector<GrantRecord> grants_;
  std::map<std::uint16_t, std::size_t> index_of_;  // by slot
  HostMemory memory_;
};

// --- from the monitors ---

// Where partitions of all users leave their process ids.
std::vector<fs::path> runtime_directories(const host::Root& root, const std::string& runtime) {
  std::vector<fs::path> places{root.path(runtime), root.path("/run/bulkhead")};
  for (const std::string& user : root.list("/run/user")) {
    places.emplace_back(root.path("/run/user/" + user + "/bulkhead"));
  }
  for (const std::string& name : root.list("/tmp")) {
    if (name.starts_with("bulkhead-")) places.emplace_back(root.path("/tmp/" + name));
  }
  return places;
}

// A file of another user can name another's partition: only the monitor's own user, and root,
// count.
std::optional<std::string> name_of(const std::vector<fs::path>& places,
                                   const host::Monitor& monitor) {
  for (const fs::path& place : places) {
    std::error_code error;
    for (fs::directory_iterator entry(place, error), end; !error && entry != end;
         entry.increment(error)) {
      const fs::path file = entry->path() / "pid";
      struct stat status{};
      if (::lstat(file.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
      if (status.st_uid != monitor.uid && status.st_uid != 0) continue;
      const std::string name = entry->path().filename().string();
      const bool same = host::Root().number(file.string()) == std::uint64_t(monitor.pid);
      if (same && is_valid_partition_name(name)) return name;
    }
  }
  return std::nullopt;
}

}  // namespace

std::string pool_directory(const std::string& runtime, const PoolRecord& pool) {
  const std::string directory = runtime + "/pools/" + to_string(pool.backing);
  return pool.numa_node ? directory + "-" + std::to_string(*pool.numa_node) : directory;
}

HostMemory memory_of_ledger(const LedgerView& view, const host::Root& root,
                            const std::string& runtime) {
  return LedgerReader(view, root, runtime).read();
}

HostMemory memory_of_monitors(const host::Root& root, const std::string& runtime) {
  const auto monitors = host::find_monitors(root, runtime + "/pools");
  if (!monitors) {
    throw HostError(std::string("cannot look at the monitors: ") + monitors.error().what);
  }
  const std::vector<fs::path> places = runtime_directories(root, runtime);
  HostMemory memory;
  for (const host::Monitor& monitor : *monitors) {
    const std::string unnamed = "pid-" + std::to_string(monitor.pid);
    memory.audit.partitions.push_back({.name = name_of(places, monitor).value_or(unnamed),
                                       .pid = monitor.pid,
                                       .uid = monitor.uid});
    memory.partitions.emplace_back().of(MemoryState::kOwned) = monitor.size_bytes();
    for (AuditRegion region : monitor.regions) {
      region.owner = memory.audit.partitions.size() - 1;
      memory.audit.regions.push_back(region);
    }
  }
  return memory;
}

HostMemory memory_of_own_partitions(const RuntimeDir& runtime) {
  HostMemory memory;
  for (const std::string& name : runtime.live()) {
    std::map<std::string, std::string> fields;
    try {
      fields = parse_status(ControlClient(runtime, name).ask("status"));
    } catch (const HostError&) {
      if (!runtime.is_live(name)) continue;
    }
    memory.audit.partitions.push_back(
        {.name = name, .pid = runtime.pid_of(name), .uid = ::geteuid()});
    memory.partitions.emplace_back().of(MemoryState::kOwned) =
        host::parse_number(fields["memory_bytes"]).value_or(0);
  }
  return memory;
}

const char* to_string(Backing backing) {
  switch (backing) {
    case Backing::kMemfd:
      return "memfd";
    case Backing::kHugetlb:
      return "hugetlb";
    case Backing::kCarved:
      break;
  }
  return "carved";
}

}  // namespace bulkhead::cli
