// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>

#include <algorithm>

#include "base/thread_annotations.h"
#include "mem/frame_pool.h"
#include "mem/scrub.h"

namespace bulkhead {
namespace {

class CarvedPool final : public FramePool {
 public:
  CarvedPool(const CarvedRange& range, const char* device)
      : FramePool(range.frames(), std::nullopt),
        base_(range.base()),
        device_(device),
        scrubbed_(range.frames()) {}

  Backing backing() const override { return Backing::kCarved; }
  bool starts_unscrubbed() const override { return true; }

  Result<Extent> open_extent(FrameRun run, Open open) override {
    TRY(check(run));
    Fd file = TRY(open_device());
    MutexLock lock(lock_);
    const auto first = scrubbed_.begin() + static_cast<std::ptrdiff_t>(run.first.value());
    const auto last = first + static_cast<std::ptrdiff_t>(run.frames);
    if (open == Open::kNew && std::find(first, last, false) != last) {
      return Error{Errc::kExists, 0, "carved frames must be scrubbed before they are used again"};
    }
    std::fill(first, last, false);
    return Extent{.first = run.first,
                  .frames = run.frames,
                  .backing = Backing::kCarved,
                  .file = std::move(file),
                  .file_offset = address(run)};
  }

  Result<void> scrub(FrameRun run) override {
    TRY(check(run));
    const Fd file = TRY(open_device());
    TRY(scrub_file({.file = file.get(),
                    .backing = Backing::kCarved,
                    .offset = address(run),
                    .size_bytes = run.size_bytes()}));
    MutexLock lock(lock_);
    const auto first = scrubbed_.begin() + static_cast<std::ptrdiff_t>(run.first.value());
    std::fill_n(first, run.frames, true);
    return {};
  }

  // Nothing to free. What was not scrubbed stays so.
  Result<void> remove(FrameRun run) override { return check(run); }
  Result<std::vector<FrameRun>> existing() const override { return std::vector<FrameRun>(); }
  Result<bool> held(FrameRun) const override {
    return Error{Errc::kUnsupported, 0, "only page tables tell who maps carved memory"};
  }

 private:
  // Not O_SYNC: that would ask for uncached memory.
  Result<Fd> open_device() const { return Fd::open(device_.c_str(), O_RDWR); }
  std::uint64_t address(const FrameRun& run) const {
    return base_ + run.first.value() * kFrameSize;
  }

  const std::uint64_t base_;
  const std::string device_;
  Mutex lock_;
  std::vector<bool> scrubbed_ GUARDED_BY(lock_);  // since its last owner
};

}  // namespace

Result<std::unique_ptr<FramePool>> create_carved_pool(const CarvedRange& range,
                                                      const char* device) {
  TRY(Fd::open(device, O_RDWR));  // now, rather than when the first partition starts
  return std::unique_ptr<FramePool>(std::make_unique<CarvedPool>(range, device));
}

}  // namespace bulkhead
