// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "base/thread_annotations.h"
#include "mem/carved_range.h"
#include "mem/frame_run.h"
#include "mem/frame_source.h"

namespace bulkhead {

// Frames of one partition alone, for `bulkhead run` without the daemon: numbered from 0, known to
// nobody else, and gone with the process.
class PrivateFrames final : public FrameSource {
 public:
  // Memory files, sealed: nobody can pull pages from under us by truncating one, or change this
  // decision later. kMemfd or kHugetlb.
  static Result<std::unique_ptr<PrivateFrames>> create(Backing backing);
  // Carved memory, which no other process may be using. Each take() opens `device`, so all of them
  // come before the monitor drops its privileges.
  static std::unique_ptr<PrivateFrames> create_carved(const CarvedRange& range,
                                                      const char* device = "/dev/mem");

  Result<Extent> take(std::uint64_t frames) override;
  // Overwrites what the extent's file holds. Carved memory cannot be reached any more once
  // privileges are gone: whoever mapped it overwrites it first (GuestMemory does), and take()
  // does so again.
  void give_back(Extent extent) override;
  bool covers_host() const override { return false; }

 private:
  PrivateFrames(Backing backing, std::uint64_t frames, std::uint64_t base, const char* device)
      : backing_(backing), capacity_(frames), base_(base), device_(device) {}
  Result<FrameRun> reserve(std::uint64_t frames);
  void release(FrameIndex first);
  Result<Fd> open(const FrameRun& run) const;

  const Backing backing_;
  const std::uint64_t capacity_;  // frames
  const std::uint64_t base_;      // physical, of carved memory
  const char* const device_;
  Mutex lock_;
  std::vector<FrameRun> taken_ GUARDED_BY(lock_);  // ascending
};

}  // namespace bulkhead
