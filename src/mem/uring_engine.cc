// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <liburing.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "mem/io_engine.h"

namespace bulkhead {
namespace {

// Commands per io_uring_enter(2); the number under way is the completion queue's matter.
constexpr unsigned kSubmissions = 64;
constexpr std::uint64_t kCancelTag = ~std::uint64_t{0};
constexpr int kSubmitAttempts = 100;

// Vectors may go after the submit; completions are never dropped; waits take a time limit.
constexpr unsigned kRequired =
    IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;  // Linux 5.11

class UringEngine : public IoEngine {
 public:
  UringEngine() = default;
  ~UringEngine() override {
    if (ready_) ::io_uring_queue_exit(&ring_);
  }
  UringEngine(const UringEngine&) = delete;
  UringEngine& operator=(const UringEngine&) = delete;

  Result<void> open(int file, std::uint32_t entries);

  // The ring's own descriptor polls as readable exactly while completions wait, so it takes no
  // eventfd, and none of its system calls.
  int event_fd() const override { return ring_.ring_fd; }
  std::size_t room() const override { return ::io_uring_sq_space_left(&ring_); }
  void push(const IoCommand& command) override;
  void submit() override;
  std::size_t reap(std::span<IoResult> out) override;
  void cancel() override;
  void wait() override;

 private:
  void prepare(io_uring_sqe& entry, const IoCommand& command) const;
  void refuse_pending(int error);

  io_uring ring_{};
  bool ready_ = false;
  int file_ = -1;  // a descriptor, or an index when it is registered
  unsigned file_flags_ = 0;
  std::vector<IoResult> refused_;  // commands that the kernel did not accept
};

// The flags spare interruptions of our threads (Linux 5.19). Older kernels know neither.
int initialise(io_uring& ring, io_uring_params& parameters, std::uint32_t entries) {
  const unsigned preferred[] = {
      IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL, 0};
  int error = 0;
  for (const unsigned flags : preferred) {
    parameters = {};
    parameters.flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    parameters.cq_entries = std::max(2 * kSubmissions, 2 * entries);
    error = ::io_uring_queue_init_params(kSubmissions, &ring, &parameters);
    if (error != -EINVAL) break;
  }
  return error;
}

Result<void> UringEngine::open(int file, std::uint32_t entries) {
  io_uring_params parameters{};
  const int error = initialise(ring_, parameters, entries);
  if (error < 0) return os_error(-error, "the host refuses io_uring");
  ready_ = true;
  if ((parameters.features & kRequired) != kRequired) {
    return Error{Errc::kUnsupported, 0, "the host's io_uring is older than Linux 5.11"};
  }
  // A registered file saves its lookup in every command; not all kinds of files can be.
  const bool registered = ::io_uring_register_files(&ring_, &file, 1) == 0;
  file_ = registered ? 0 : file;
  file_flags_ = registered ? IOSQE_FIXED_FILE : 0;
  refused_.reserve(kSubmissions);
  return {};
}

void UringEngine::prepare(io_uring_sqe& entry, const IoCommand& command) const {
  const auto count = static_cast<unsigned>(command.vectors.size());
  const bool single = count == 1;
  const iovec* vectors = command.vectors.data();
  switch (command.kind) {
    case IoCommand::Kind::kRead:
      if (single) {
        ::io_uring_prep_read(&entry, file_, vectors->iov_base,
                             static_cast<unsigned>(vectors->iov_len), command.offset);
      } else {
        ::io_uring_prep_readv(&entry, file_, vectors, count, command.offset);
      }
      break;
    case IoCommand::Kind::kWrite:
      if (single) {
        ::io_uring_prep_write(&entry, file_, vectors->iov_base,
                              static_cast<unsigned>(vectors->iov_len), command.offset);
      } else {
        ::io_uring_prep_writev(&entry, file_, vectors, count, command.offset);
      }
      entry.rw_flags = command.flags;
      break;
    case IoCommand::Kind::kSync:
      ::io_uring_prep_fsync(&entry, file_, command.flags != 0 ? IORING_FSYNC_DATASYNC : 0U);
      break;
    case IoCommand::Kind::kAllocate:
      ::io_uring_prep_fallocate(&entry, file_, command.flags, static_cast<off_t>(command.offset),
                                static_cast<off_t>(command.length));
      break;
  }
}

void UringEngine::push(const IoCommand& command) {
  io_uring_sqe* entry = ::io_uring_get_sqe(&ring_);
  CHECK(entry != nullptr);
  prepare(*entry, command);
  entry->flags = static_cast<__u8>(file_flags_);
  entry->user_data = command.slot;
}

void UringEngine::submit() {
  int attempts = 0;
  while (::io_uring_sq_ready(&ring_) > 0) {
    const int taken = ::io_uring_submit(&ring_);
    if (taken > 0) {
      attempts = 0;
    } else if (++attempts == kSubmitAttempts) {
      return refuse_pending(taken < 0 ? -taken : EAGAIN);
    }
  }
}

// The host is out of memory, or worse. What it did not take is taken back: without SQPOLL the
// kernel looks at the tail only in io_uring_enter(2).
void UringEngine::refuse_pending(int error) {
  io_uring_sq& queue = ring_.sq;
  for (unsigned at = *queue.khead; at != *queue.ktail; ++at) {
    const std::uint64_t tag = queue.sqes[queue.array[at & queue.ring_mask]].user_data;
    if (tag != kCancelTag) refused_.push_back({static_cast<std::uint32_t>(tag), -error});
  }
  *queue.ktail = *queue.khead;
  queue.sqe_head = queue.sqe_tail = *queue.khead;
}

std::size_t UringEngine::reap(std::span<IoResult> out) {
  std::size_t count = 0;
  while (count < out.size() && !refused_.empty()) {
    out[count++] = refused_.back();
    refused_.pop_back();
  }
  std::array<io_uring_cqe*, 32> entries;
  const std::size_t wanted = std::min(out.size() - count, entries.size());
  if (wanted == 0) return count;
  const unsigned got =
      ::io_uring_peek_batch_cqe(&ring_, entries.data(), static_cast<unsigned>(wanted));
  for (const io_uring_cqe* entry : std::span(entries).first(got)) {
    if (entry->user_data == kCancelTag) continue;
    out[count++] = {static_cast<std::uint32_t>(entry->user_data), entry->res};
  }
  ::io_uring_cq_advance(&ring_, got);
  return count;
}

// IORING_ASYNC_CANCEL_ANY is of Linux 5.19: an older kernel refuses it, and all is waited for.
void UringEngine::cancel() {
  submit();
  io_uring_sqe* entry = ::io_uring_get_sqe(&ring_);
  CHECK(entry != nullptr);
  ::io_uring_prep_cancel64(entry, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
  entry->user_data = kCancelTag;
  submit();
}

void UringEngine::wait() {
  if (!refused_.empty()) return;
  io_uring_cqe* entry = nullptr;
  __kernel_timespec limit{.tv_sec = 1, .tv_nsec = 0};
  ::io_uring_wait_cqe_timeout(&ring_, &entry, &limit);
}

}  // namespace

Result<std::unique_ptr<IoEngine>> create_uring_engine(int file, std::uint32_t entries) {
  auto engine = std::make_unique<UringEngine>();
  TRY(engine->open(file, entries));
  return std::unique_ptr<IoEngine>(std::move(engine));
}

}  // namespace bulkhead
