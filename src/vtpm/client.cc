// SPDX-License-Identifier: Apache-2.0
#include "vtpm/client.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "vtpm/response.h"

namespace bulkhead::vtpm {
namespace {

using std::chrono::milliseconds;

// How often a waiting call looks whether it was cancelled meanwhile.
constexpr milliseconds kSlice{250};

Error lie(const char* what) {
  return Error{Errc::kMalformed, 0, what};
}

}  // namespace

Client::Client(Fd socket, const Patience& patience)
    : socket_(std::move(socket)),
      patience_(patience),
      buffer_(std::make_unique<DatagramBuffer>()) {}

// One line, once: later calls only fail.
Error Client::give_up(const Error& why) {
  if (!failed_.exchange(true)) {
    log_failure("vtpm_failed", why);
    ::shutdown(socket_.get(), SHUT_RDWR);
  }
  return why;
}

Result<void> Client::await_datagram(const Message& request) {
  const bool command = request.type == MessageType::kCommand;
  auto deadline = Clock::now() + (command ? patience_.command : patience_.other);
  bool shortened = false;
  while (true) {
    const auto now = Clock::now();
    if (cancelled_.load() == request.sequence && !shortened) {
      deadline = std::min(deadline, now + patience_.cancelled);
      shortened = true;
    }
    if (now >= deadline) return Error{Errc::kTimeout, 0, "the TPM's process does not answer"};
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - now);
    pollfd ready{socket_.get(), POLLIN, 0};
    const int count = ::poll(&ready, 1, static_cast<int>(std::min(left, kSlice).count()) + 1);
    if (count > 0) return {};
    if (count < 0 && errno != EINTR) return os_error("cannot wait for the TPM's process");
  }
}

Result<Message> Client::await_answer(const Message& request) {
  TRY(await_datagram(request));
  const Message answer = TRY(receive_message(socket_.get(), *buffer_));
  if (answer.type != request.type || answer.sequence != request.sequence) {
    return lie("the TPM's process answered what was not asked");
  }
  if (answer.value > kLastStatus) return lie("the TPM's process answered with no status");
  const bool may_have_payload = answer.value == 0 && (request.type == MessageType::kCommand ||
                                                      request.type == MessageType::kGetVolatile);
  if (!may_have_payload && !answer.payload.empty()) {
    return lie("the TPM's process answered with more than was asked");
  }
  return answer;
}

// The payload lies in the buffer until the next call.
Result<std::span<const std::byte>> Client::call(const Message& request) {
  if (failed()) return Error{Errc::kClosed, 0, "the TPM has failed"};
  Message numbered = request;
  numbered.sequence = ++sequence_ == 0 ? ++sequence_ : sequence_;  // 0 is "none"
  if (request.type == MessageType::kCommand) running_ = numbered.sequence;
  Result<void> sent = send_message(socket_.get(), numbered);
  Result<Message> answer = sent ? await_answer(numbered) : Result<Message>(sent.error());
  running_ = 0;
  if (!answer) return give_up(answer.error());
  const auto status = static_cast<Status>(answer->value);
  if (status != Status::kOk) return to_error(status);
  return answer->payload;
}

Result<void> Client::init(std::span<const std::byte> volatile_state) {
  if (volatile_state.size() > kMaxPayloadBytes) {
    return Error{Errc::kInvalidArgument, 0, "the TPM's state to go on from is too long"};
  }
  const MutexLock lock(call_mutex_);
  TRY(call({.type = MessageType::kInit, .payload = volatile_state}));
  return {};
}

Result<std::vector<std::byte>> Client::volatile_state() {
  const MutexLock lock(call_mutex_);
  const auto state = TRY(call({.type = MessageType::kGetVolatile}));
  return std::vector<std::byte>(state.begin(), state.end());
}

Result<void> Client::shut_down() {
  const MutexLock lock(call_mutex_);
  TRY(call({.type = MessageType::kShutdown}));
  return {};
}

Result<std::size_t> Client::execute(TpmLocality locality, std::span<const std::byte> command,
                                    std::span<std::byte, kTpmBufferBytes> response) {
  if (command.size() > kTpmBufferBytes) {
    return Error{Errc::kInvalidArgument, 0, "the TPM's command is too long"};
  }
  const MutexLock lock(call_mutex_);
  const auto got = TRY(call({.type = MessageType::kCommand,
                             .value = static_cast<std::uint32_t>(locality),
                             .payload = command}));
  if (!is_response(got)) return give_up(lie("the TPM's process answered with no TPM response"));
  std::ranges::copy(got, response.begin());
  return got.size();
}

// A cancellation that comes too late names a command that has ended, and is not heeded.
void Client::cancel() {
  const std::uint32_t running = running_.load();
  if (running == 0 || failed() || cancelled_.exchange(running) == running) return;
  // If it cannot be sent the command's own call sees why.
  (void)send_message(socket_.get(), {.type = MessageType::kCancel, .value = running});
}

}  // namespace bulkhead::vtpm
