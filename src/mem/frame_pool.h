// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "mem/carved_range.h"
#include "mem/frame_run.h"
#include "mem/frame_source.h"

namespace bulkhead {

// The host's frames: where they lie, and how their content is destroyed. Who owns which is the
// ledger's business. One pool is one kind of memory on one NUMA node, its frames numbered from 0.
//
// A run gets a file when it is taken, and loses it when it is free; nothing in between is split or
// joined. The life of a run: open_extent(kNew), give its descriptor to the owner and close ours;
// when it came back: held(), scrub(), remove(). What is written into a file survives its owner and
// this process; after a crash, existing() names the runs and open_extent(kExisting) finds them.
//
// Thread-safe for runs that do not overlap.
class FramePool {
 public:
  enum class Open : std::uint8_t {
    kNew,       // zeroes; kExists if the run has a file: an extent is never handed on unscrubbed
    kExisting,  // as it was left, after a restart; kNotFound if the run has no file
  };

  virtual ~FramePool() = default;
  FramePool(const FramePool&) = delete;
  FramePool& operator=(const FramePool&) = delete;

  virtual Backing backing() const = 0;
  std::uint64_t frames() const { return frames_; }
  std::optional<unsigned> numa_node() const { return numa_node_; }
  // Whether every frame that nobody owns may hold old data when the pool is created: physical
  // memory survives a warm start. Such frames begin as "scrubbing", and scrub() comes before kNew.
  virtual bool starts_unscrubbed() const = 0;

  // `file` reaches the whole pool when the backing is kCarved (it is /dev/mem): only a monitor that
  // has not yet run its guest may get it.
  virtual Result<Extent> open_extent(FrameRun run, Open open) = 0;
  // Overwrites every byte that the run holds, wherever there may be any. A run without a file is
  // kNotFound; when this fails, the run must not be used again.
  virtual Result<void> scrub(FrameRun run) = 0;
  // Frees the run's memory, scrubbed before, and forgets its file.
  virtual Result<void> remove(FrameRun run) = 0;
  // The runs that have a file, ascending: no two overlap, none is outside of the pool. Empty when
  // the backing is kCarved, of which the journal of the ledger is the only record.
  virtual Result<std::vector<FrameRun>> existing() const = 0;
  // Whether another process still maps the run, or has it open: it was not given back yet. The
  // caller closes its own descriptors first. kUnsupported where only the page tables can tell.
  virtual Result<bool> held(FrameRun run) const = 0;

 protected:
  FramePool(std::uint64_t frames, std::optional<unsigned> numa_node)
      : frames_(frames), numa_node_(numa_node) {}
  // Refuses an empty run, and what does not lie in the pool.
  Result<void> check(const FrameRun& run) const;

 private:
  std::uint64_t frames_;
  std::optional<unsigned> numa_node_;
};

struct FilePoolOptions {
  Backing backing = Backing::kMemfd;  // kMemfd: a tmpfs; kHugetlb: a hugetlbfs of 2 MiB pages
  // Absolute; made if it is absent, as is the mount on it. Mode 0700 and ours, or refused. It stays
  // mounted when the pool goes: it is what outlives us.
  std::string directory;
  std::uint64_t frames = 0;
  std::optional<unsigned> numa_node;
};

// Needs root, to mount. kHugetlb: the host's pool of huge pages is the administrator's to fill;
// a run that it cannot hold is kExhausted when it is opened.
Result<std::unique_ptr<FramePool>> create_file_pool(const FilePoolOptions& options);

// Frame n is at the n-th 2 MiB of the range. `device` is /dev/mem, but for tests.
Result<std::unique_ptr<FramePool>> create_carved_pool(const CarvedRange& range,
                                                      const char* device = "/dev/mem");

}  // namespace bulkhead
