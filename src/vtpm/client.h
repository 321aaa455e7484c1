// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <vector>

#include "base/fd.h"
#include "base/thread_annotations.h"
#include "devices/tpm.h"
#include "vtpm/protocol.h"

namespace bulkhead::vtpm {

// How long an answer may take. The slowest commands make keys: seconds on a CPU, minutes on an
// emulated one.
struct Patience {
  std::chrono::milliseconds command = std::chrono::minutes(5);
  std::chrono::milliseconds cancelled = std::chrono::seconds(30);  // from cancel() on
  std::chrono::milliseconds other = std::chrono::seconds(60);
};

// The monitor's side of a vTPM process, which is not trusted: whatever it answers, or does not, the
// caller gets a response of sound form, or an error. After the first lie, silence or hang-up the
// connection is closed, one line says why, and every call fails with kClosed.
class Client final : public Tpm {
 public:
  explicit Client(Fd socket, const Patience& patience = {});

  // Switches the TPM on, or off and on again, with the volatile state given or none. Must come
  // before all else.
  Result<void> init(std::span<const std::byte> volatile_state = {}) EXCLUDES(call_mutex_);
  Result<std::vector<std::byte>> volatile_state() EXCLUDES(call_mutex_);
  // Asks the process to end, and waits for its word.
  Result<void> shut_down() EXCLUDES(call_mutex_);

  Result<std::size_t> execute(TpmLocality locality, std::span<const std::byte> command,
                              std::span<std::byte, kTpmBufferBytes> response) override
      EXCLUDES(call_mutex_);
  void cancel() override;

  bool failed() const { return failed_.load(std::memory_order_relaxed); }

 private:
  using Clock = std::chrono::steady_clock;

  Result<std::span<const std::byte>> call(const Message& request) REQUIRES(call_mutex_);
  Result<Message> await_answer(const Message& request) REQUIRES(call_mutex_);
  Result<void> await_datagram(const Message& request) REQUIRES(call_mutex_);
  Error give_up(const Error& why) REQUIRES(call_mutex_);

  const Fd socket_;
  const Patience patience_;
  std::atomic<bool> failed_ = false;
  // The numbers of the command under way, or 0, and of the last one that was to end early.
  std::atomic<std::uint32_t> running_ = 0;
  std::atomic<std::uint32_t> cancelled_ = 0;
  Mutex call_mutex_;
  std::uint32_t sequence_ GUARDED_BY(call_mutex_) = 0;
  std::unique_ptr<DatagramBuffer> buffer_ GUARDED_BY(call_mutex_);
};

}  // namespace bulkhead::vtpm
