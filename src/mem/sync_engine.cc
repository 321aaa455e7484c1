// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "mem/io_engine.h"

namespace bulkhead {
namespace {

class SyncEngine : public IoEngine {
 public:
  SyncEngine(int file, Fd event, std::uint32_t entries) : file_(file), event_(std::move(event)) {
    results_.reserve(entries);
  }

  int event_fd() const override { return event_.get(); }
  std::size_t room() const override { return results_.capacity() - results_.size(); }
  void push(const IoCommand& command) override;
  void submit() override;
  std::size_t reap(std::span<IoResult> out) override;
  void cancel() override {}
  void wait() override {}

 private:
  ssize_t perform(const IoCommand& command) const;

  int file_;
  Fd event_;
  std::vector<IoResult> results_;  // not yet reaped; never more than it was reserved for
  bool signalled_ = false;
};

ssize_t SyncEngine::perform(const IoCommand& command) const {
  const auto offset = static_cast<off_t>(command.offset);
  const auto count = static_cast<int>(command.vectors.size());
  switch (command.kind) {
    case IoCommand::Kind::kRead:
      return ::preadv2(file_, command.vectors.data(), count, offset, 0);
    case IoCommand::Kind::kWrite:
      return ::pwritev2(file_, command.vectors.data(), count, offset, command.flags);
    case IoCommand::Kind::kSync:
      return command.flags != 0 ? ::fdatasync(file_) : ::fsync(file_);
    case IoCommand::Kind::kAllocate:
      return ::fallocate(file_, command.flags, offset, static_cast<off_t>(command.length));
  }
  std::unreachable();
}

void SyncEngine::push(const IoCommand& command) {
  CHECK(room() > 0);
  const ssize_t value = perform(command);
  results_.push_back({command.slot, static_cast<std::int32_t>(value < 0 ? -errno : value)});
}

void SyncEngine::submit() {
  if (results_.empty() || signalled_) return;
  signal_event(event_.get());
  signalled_ = true;
}

std::size_t SyncEngine::reap(std::span<IoResult> out) {
  const std::size_t count = std::min(out.size(), results_.size());
  const auto end = results_.begin() + static_cast<std::ptrdiff_t>(count);
  std::copy(results_.begin(), end, out.begin());
  results_.erase(results_.begin(), end);
  if (results_.empty() && signalled_) {
    drain_event(event_.get());
    signalled_ = false;
  }
  return count;
}

}  // namespace

Result<std::unique_ptr<IoEngine>> create_sync_engine(int file, std::uint32_t entries) {
  Fd event = TRY(Fd::event());
  return std::unique_ptr<IoEngine>(std::make_unique<SyncEngine>(file, std::move(event), entries));
}

}  // namespace bulkhead
