// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <condition_variable>
#include <vector>

#include "base/thread_annotations.h"
#include "devices/tpm.h"

namespace bulkhead {

// A TPM that answers with the command's own bytes, at once or when a test lets it.
class FakeTpm final : public Tpm {
 public:
  Result<std::size_t> execute(TpmLocality locality, std::span<const std::byte> command,
                              std::span<std::byte, kTpmBufferBytes> response) override {
    const MutexLock lock(mutex_);
    last_locality_ = locality;
    last_command_.assign(command.begin(), command.end());
    ++commands_;
    under_way_ = true;
    changed_.notify_all();
    while (held_ && !cancelled_) changed_.wait(mutex_);
    under_way_ = false;
    const bool ended_early = cancelled_;
    cancelled_ = false;
    if (fails_) return Error{Errc::kClosed, 0, "the test's TPM has failed"};
    std::ranges::copy(command, response.begin());
    if (ended_early) response[9] = std::byte{0x09};  // the end of TPM_RC_CANCELED
    return command.size();
  }
  void cancel() override {
    const MutexLock lock(mutex_);
    ++cancels_;
    if (under_way_) cancelled_ = true;
    changed_.notify_all();
  }

  void hold(bool held) {
    const MutexLock lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  void fail() {
    const MutexLock lock(mutex_);
    fails_ = true;
  }
  void wait_until_under_way() {
    const MutexLock lock(mutex_);
    while (!under_way_) changed_.wait(mutex_);
  }
  std::vector<std::byte> last_command() {
    const MutexLock lock(mutex_);
    return last_command_;
  }
  TpmLocality last_locality() {
    const MutexLock lock(mutex_);
    return last_locality_;
  }
  unsigned commands() {
    const MutexLock lock(mutex_);
    return commands_;
  }
  unsigned cancels() {
    const MutexLock lock(mutex_);
    return cancels_;
  }

 private:
  Mutex mutex_;
  std::condition_variable_any changed_;
  TpmLocality last_locality_ GUARDED_BY(mutex_) = TpmLocality::k0;
  std::vector<std::byte> last_command_ GUARDED_BY(mutex_);
  unsigned commands_ GUARDED_BY(mutex_) = 0;
  unsigned cancels_ GUARDED_BY(mutex_) = 0;
  bool held_ GUARDED_BY(mutex_) = false;
  bool under_way_ GUARDED_BY(mutex_) = false;
  bool cancelled_ GUARDED_BY(mutex_) = false;
  bool fails_ GUARDED_BY(mutex_) = false;
};

}  // namespace bulkhead
