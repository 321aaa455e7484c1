// SPDX-License-Identifier: Apache-2.0
#include "host/memory_audit.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <tuple>

#include "host/audit_plan.h"
#include "host/page_owners.h"

namespace bulkhead::host {
namespace {

constexpr std::size_t kShownFrames = 8;
// Of one suspicion; the rest is counted only.
constexpr std::size_t kKeptFrames = 64 * 1024;

// A finding before it is confirmed: a page may have changed hands between two looks.
struct Suspicion {
  Finding finding;
  std::vector<Pfn> frames;
  std::string place;  // what of process `pid` maps the first
};
using Key = std::tuple<FindingKind, std::size_t, pid_t>;

std::string reason(const Error& error) {
  std::string text = error.what;
  if (error.os_errno != 0) text.append(": ").append(::strerrordesc_np(error.os_errno));
  return text;
}

class Audit {
 public:
  Audit(const Root& root, const AuditPlan& plan, PageArray counts, PageArray flags)
      : root_(root), plan_(plan), counts_(std::move(counts)), flags_(std::move(flags)) {}

  Result<AuditReport> run(const AuditProgress& progress);
  PageOwners locate() {
    Conflicts conflicts;
    return claim_all(conflicts, {});
  }

 private:
  using Conflicts = std::map<Pfn, std::pair<std::size_t, std::size_t>>;  // page -> partitions

  template <class Look>
  void for_each_process(const AuditProgress& progress, const Look& look);

  Result<void> claim(PageOwners& owners, Conflicts& conflicts, const Process& process);
  Result<void> claim_vma(PageOwners& owners, Conflicts& conflicts, const Process& process,
                         const Vma& vma);
  void claim_page(PageOwners& owners, Conflicts& conflicts, Pfn pfn, OwnerId holder);
  PageOwners claim_all(Conflicts& conflicts, const AuditProgress& progress);

  Result<void> look_at(const Process& process);
  bool look_at_physical(const Process& process, const Vma& vma);
  void note_mapping(const Process& process, const Vma& vma, Hva address, Pfn pfn,
                    PageOwners::Page& page);
  Result<void> look_at_handles(const Process& process);
  Result<void> look_at_swap(std::size_t partition);
  void look_at_block(Pfn first, const PageOwners::Block& block);
  void look_for_dead_owners();
  Suspicion& suspect(FindingKind kind, std::size_t partition, const Process* process);
  void suspect_page(Suspicion& suspicion, Pfn pfn);
  void add_conflicts(const Conflicts& first);
  void confirm();
  bool still_so(Suspicion& suspicion, PageOwners& owners, const Conflicts& conflicts) const;

  const Root& root_;
  const AuditPlan& plan_;
  PageArray counts_;
  PageArray flags_;
  PageOwners owners_;
  std::map<Key, Suspicion> suspicions_;
  AuditReport report_;
  std::uint64_t present_ = 0;   // pages seen in page tables
  std::uint64_t numbered_ = 0;  // and those of them whose number the kernel told
};

// A process that ends meanwhile is left out; one that cannot be looked into is told about.
template <class Look>
void Audit::for_each_process(const AuditProgress& progress, const Look& look) {
  const std::vector<pid_t> ids = process_ids(root_);
  std::size_t done = 0;
  for (const pid_t pid : ids) {
    if (progress) progress(done++, ids.size());
    const Result<Process> process = Process::open(root_, pid);
    const Result<void> looked = process ? look(*process) : process.error();
    if (looked || looked.error().code == Errc::kNotFound) continue;
    const std::string problem = "process " + std::to_string(pid) + ": " + reason(looked.error());
    if (std::ranges::find(report_.unreadable, problem) == report_.unreadable.end()) {
      report_.unreadable.push_back(problem);
    }
  }
}

// --- whose page is which ---

void Audit::claim_page(PageOwners& owners, Conflicts& conflicts, Pfn pfn, OwnerId holder) {
  const OwnerId first = owners.claim(pfn, holder);
  if (first == holder) return;
  const std::size_t one = plan_.holder(first).owner;
  const std::size_t other = plan_.holder(holder).owner;
  if (one != other) conflicts.try_emplace(pfn, one, other);
}

Result<void> Audit::claim_vma(PageOwners& owners, Conflicts& conflicts, const Process& process,
                              const Vma& vma) {
  for (const AuditPlan::Region& region : plan_.regions(vma.file, process.pid())) {
    const std::uint64_t first = std::max(region.offset, vma.file_offset);
    const std::uint64_t last =
        std::min(region.offset + region.size_bytes, vma.file_offset + vma.size_bytes());
    if (first >= last) continue;
    Vma part = vma;
    part.start = vma.start + (first - vma.file_offset);
    part.end = vma.start + (last - vma.file_offset);
    const std::size_t owner = plan_.holder(region.holder).owner;
    TRY(process.walk(part, [&](Hva start, std::span<const PageEntry> entries) {
      for (std::size_t i = 0; i < entries.size(); ++i) {
        if (entries[i].present() && entries[i].pfn() != Pfn(0)) {
          claim_page(owners, conflicts, entries[i].pfn(), region.holder);
        } else if (entries[i].swapped()) {
          Suspicion& found = suspect(FindingKind::kSwapped, owner, nullptr);
          if (found.finding.pages++ == 0) found.finding.address = start + i * kPageSize;
        }
      }
    }));
  }
  return {};
}

Result<void> Audit::claim(PageOwners& owners, Conflicts& conflicts, const Process& process) {
  for (const Vma& vma : TRY(process.vmas())) {
    if (!plan_.owners(vma.file).empty()) TRY(claim_vma(owners, conflicts, process, vma));
  }
  return {};
}

PageOwners Audit::claim_all(Conflicts& conflicts, const AuditProgress& progress) {
  PageOwners owners;
  for (const AuditPlan::Region& region : plan_.physical()) {
    for (std::uint64_t at = 0; at < region.size_bytes; at += kPageSize) {
      claim_page(owners, conflicts, Pfn((region.offset + at) / kPageSize), region.holder);
    }
  }
  for_each_process(progress,
                   [&](const Process& process) { return claim(owners, conflicts, process); });
  return owners;
}

// --- who maps it ---

Suspicion& Audit::suspect(FindingKind kind, std::size_t partition, const Process* process) {
  const pid_t pid = process == nullptr ? 0 : process->pid();
  const auto [entry, added] = suspicions_.try_emplace(Key{kind, partition, pid});
  if (added) {
    entry->second.finding.kind = kind;
    entry->second.finding.partition = partition;
    entry->second.finding.pid = pid;
    if (process != nullptr) entry->second.finding.command = process->command();
  }
  return entry->second;
}

void Audit::suspect_page(Suspicion& suspicion, Pfn pfn) {
  ++suspicion.finding.pages;
  if (suspicion.frames.size() < kKeptFrames) suspicion.frames.push_back(pfn);
}

void Audit::note_mapping(const Process& process, const Vma& vma, Hva address, Pfn pfn,
                         PageOwners::Page& page) {
  const AuditPlan::Holder& holder = plan_.holder(page.owner);
  if (page.mapped != UINT8_MAX) ++page.mapped;
  FindingKind kind = FindingKind::kMappedTwice;
  if (!plan_.may_map(holder, process.pid())) {
    kind = holder.owner == kNoPartition || holder.state == MemoryState::kScrubbing
               ? FindingKind::kUnownedMapped
               : FindingKind::kForeignMapping;
  } else if (!plan_.is_monitor(holder.owner, process.pid()) || page.mapped_by_owner++ == 0) {
    return;
  } else {
    page.mapped_by_owner = 1;
  }
  Suspicion& found = suspect(kind, holder.owner, &process);
  if (found.finding.pages == 0) {
    found.finding.address = address;
    found.place = vma.path.empty() ? "anonymous memory" : vma.path;
  }
  suspect_page(found, pfn);
}

// Page tables show nothing of what is mapped through /dev/mem, but it is all there from the start,
// and the offset is the address.
bool Audit::look_at_physical(const Process& process, const Vma& vma) {
  if (plan_.physical().empty() || process.mapped_device(vma) != plan_.physical_device()) {
    return false;
  }
  for (std::uint64_t at = 0; at < vma.size_bytes(); at += kPageSize) {
    const Pfn pfn((vma.file_offset + at) / kPageSize);
    PageOwners::Page* page = owners_.find(pfn);
    if (page != nullptr) note_mapping(process, vma, vma.start + at, pfn, *page);
  }
  return true;
}

Result<void> Audit::look_at(const Process& process) {
  for (const Vma& vma : TRY(process.vmas())) {
    if (look_at_physical(process, vma)) continue;
    TRY(process.walk(vma, [&](Hva start, std::span<const PageEntry> entries) {
      for (std::size_t i = 0; i < entries.size(); ++i) {
        if (!entries[i].present()) continue;
        ++present_;
        const Pfn pfn = entries[i].pfn();
        if (pfn == Pfn(0)) continue;
        ++numbered_;
        PageOwners::Page* page = owners_.find(pfn);
        if (page != nullptr) note_mapping(process, vma, start + i * kPageSize, pfn, *page);
      }
    }));
  }
  ++report_.processes;
  return look_at_handles(process);
}

// A descriptor of a file with frames of several partitions reaches all of them.
Result<void> Audit::look_at_handles(const Process& process) {
  if (plan_.is_keeper(process.pid())) return {};
  for (const OpenFile& file : TRY(process.open_files())) {
    const bool physical = file.special_device == plan_.physical_device();
    const std::set<std::size_t>& owners =
        physical ? plan_.physical_owners() : plan_.owners(file.file);
    for (const std::size_t owner : owners) {
      if (plan_.is_monitor(owner, process.pid())) continue;
      Suspicion& found = suspect(FindingKind::kOpenHandle, owner, &process);
      found.place = "descriptor " + std::to_string(file.number) + (physical ? " (/dev/mem)" : "");
    }
  }
  return {};
}

// --- what else the kernel knows of the pages ---

void Audit::look_at_block(Pfn first, const PageOwners::Block& block) {
  std::array<std::uint64_t, PageOwners::kPagesPerBlock> counts{};
  std::array<std::uint64_t, PageOwners::kPagesPerBlock> flags{};
  const Result<std::size_t> counted = counts_.read(first, counts);
  const Result<std::size_t> flagged = flags_.read(first, flags);
  if (!counted || !flagged) {
    report_.unreadable.push_back("the kernel's page counts: " +
                                 reason((counted ? flagged : counted).error()));
    return;
  }
  for (std::size_t i = 0; i < block.size(); ++i) {
    const PageOwners::Page& page = block[i];
    if (page.owner == kNotWatched) continue;
    ++report_.pages;
    const std::size_t owner = plan_.holder(page.owner).owner;
    // One may be the owner's that came back since its page tables were read.
    const std::uint64_t explained =
        owner == kNoPartition ? page.mapped : std::max<std::uint64_t>(page.mapped, 1);
    if (counts[i] > explained && page.mapped != UINT8_MAX) {
      suspect_page(suspect(FindingKind::kUnexplainedMapping, owner, nullptr), first + i);
    }
    if ((flags[i] & kPageFlagKsm) != 0) {
      suspect_page(suspect(FindingKind::kMerged, owner, nullptr), first + i);
    }
  }
}

Result<void> Audit::look_at_swap(std::size_t partition) {
  const Process process = TRY(Process::open(root_, plan_.partition(partition).pid));
  for (const FileId& file : plan_.files_of(partition)) {
    const SmapsTotals totals = TRY(process.smaps_of(file));
    if (totals.swapped_bytes != 0) {
      Suspicion& found = suspect(FindingKind::kSwapped, partition, nullptr);
      found.finding.pages = std::max(found.finding.pages, totals.swapped_bytes / kPageSize);
    }
    if (totals.merged_bytes != 0) {
      Suspicion& found = suspect(FindingKind::kMerged, partition, nullptr);
      found.finding.pages = std::max(found.finding.pages, totals.merged_bytes / kPageSize);
    }
  }
  return {};
}

void Audit::look_for_dead_owners() {
  for (std::size_t i = 0; i < plan_.partitions().size(); ++i) {
    const pid_t pid = plan_.partition(i).pid;
    if (!plan_.has_memory(i)) continue;
    if (pid > 0 && root_.exists("/proc/" + std::to_string(pid))) {
      const Result<void> looked = look_at_swap(i);
      if (!looked && looked.error().code != Errc::kNotFound) {
        report_.unreadable.push_back("process " + std::to_string(pid) + ": " +
                                     reason(looked.error()));
      }
      continue;
    }
    suspect(FindingKind::kOwnerDead, i, nullptr);
  }
}

// --- confirmation ---

void Audit::add_conflicts(const Conflicts& conflicts) {
  for (const auto& [pfn, pair] : conflicts) {
    for (const std::size_t partition : {pair.first, pair.second}) {
      if (partition == kNoPartition) continue;
      const std::size_t other = partition == pair.first ? pair.second : pair.first;
      Suspicion& found = suspect(FindingKind::kTwoPartitions, partition, nullptr);
      found.place = other == kNoPartition ? "memory of nobody" : plan_.partition(other).name;
      suspect_page(found, pfn);
    }
  }
}

// A page that left its owner between the looks, and got to another process in order, is no finding:
// what the owner has before and after, it had in between.
bool Audit::still_so(Suspicion& suspicion, PageOwners& owners, const Conflicts& conflicts) const {
  if (suspicion.frames.empty()) return true;
  const Finding& finding = suspicion.finding;
  const std::size_t before = suspicion.frames.size();
  std::erase_if(suspicion.frames, [&](Pfn pfn) {
    if (finding.kind == FindingKind::kTwoPartitions) return !conflicts.contains(pfn);
    const OwnerId now = owners.owner(pfn);
    return now == kNotWatched || plan_.holder(now).owner != finding.partition;
  });
  if (suspicion.frames.size() != before) suspicion.finding.pages = suspicion.frames.size();
  return !suspicion.frames.empty();
}

void Audit::confirm() {
  Conflicts conflicts;
  // This look counts swapped pages again, into suspicions that are put aside.
  std::map<Key, Suspicion> first = std::exchange(suspicions_, {});
  PageOwners owners = claim_all(conflicts, {});
  for (auto& [key, suspicion] : first) {
    if (!still_so(suspicion, owners, conflicts)) continue;
    const auto shown = std::min(suspicion.frames.size(), kShownFrames);
    suspicion.finding.frames.assign(suspicion.frames.begin(),
                                    suspicion.frames.begin() + static_cast<std::ptrdiff_t>(shown));
    suspicion.finding.why = explain(suspicion.finding, suspicion.place);
    report_.findings.push_back(std::move(suspicion.finding));
  }
}

Result<AuditReport> Audit::run(const AuditProgress& progress) {
  Conflicts conflicts;
  owners_ = claim_all(conflicts, {});
  for_each_process(progress, [this](const Process& process) { return look_at(process); });
  if (report_.processes == 0 && report_.unreadable.empty()) {
    return Error{Errc::kUnsupported, 0, "no process has page tables that can be read"};
  }
  if (present_ != 0 && numbered_ == 0) {
    return Error{Errc::kPermission, 0, "the kernel hides the numbers of physical pages"};
  }
  add_conflicts(conflicts);
  owners_.for_each_block(
      [this](Pfn first, PageOwners::Block& block) { look_at_block(first, block); });
  look_for_dead_owners();
  if (!suspicions_.empty()) confirm();
  return std::move(report_);
}

}  // namespace

Result<void> can_see_page_tables(const Root& root) {
  for (const char* file : {"/proc/kpagecount", "/proc/kpageflags"}) {
    TRY(PageArray::open(root, file));
  }
  return {};
}

Result<LocatedMemory> locate_memory(const Root& root, const AuditInput& input) {
  PageArray counts = TRY(PageArray::open(root, "/proc/kpagecount"));
  PageArray flags = TRY(PageArray::open(root, "/proc/kpageflags"));
  const AuditPlan plan = TRY(AuditPlan::create(input));
  LocatedMemory located{.pages = Audit(root, plan, std::move(counts), std::move(flags)).locate(),
                        .partition_of = {}};
  for (OwnerId id = 0; id < plan.holders(); ++id) {
    located.partition_of.push_back(plan.holder(id).owner);
  }
  return located;
}

Result<AuditReport> audit_memory(const Root& root, const AuditInput& input,
                                 const AuditProgress& progress) {
  PageArray counts = TRY(PageArray::open(root, "/proc/kpagecount"));
  PageArray flags = TRY(PageArray::open(root, "/proc/kpageflags"));
  const AuditPlan plan = TRY(AuditPlan::create(input));
  return Audit(root, plan, std::move(counts), std::move(flags)).run(progress);
}

}  // namespace bulkhead::host
