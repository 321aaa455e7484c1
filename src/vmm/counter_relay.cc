// SPDX-License-Identifier: Apache-2.0
#include "vmm/counter_relay.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/log.h"
#include "crypto/secret_bytes.h"
#include "mem/daemon_connection.h"

namespace bulkhead {
namespace {

// The host's TPM may be slow, and busy with others.
constexpr int kPatienceSeconds = 30;

Result<CounterValue> ask_daemon(const std::string& socket, unsigned daemon_uid,
                                const vtpm::CounterRequest& request) {
  auto connection = TRY(daemon::Connection::open(socket, kPatienceSeconds));
  if (connection.uid() != daemon_uid) {
    return Error{Errc::kPermission, 0, "the daemon is not root's: it is not believed"};
  }
  return connection.count(request.action, request.index, request.password);
}

}  // namespace

CounterRelay::Ask CounterRelay::by_daemon(std::string socket, unsigned daemon_uid) {
  return [socket = std::move(socket), daemon_uid](const vtpm::CounterRequest& request) {
    return ask_daemon(socket, daemon_uid, request);
  };
}

Result<std::unique_ptr<CounterRelay>> CounterRelay::start(Ask ask, bool or_file,
                                                          const CounterPace& pace) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return os_error("cannot create a pair of sockets");
  }
  std::unique_ptr<CounterRelay> relay(new CounterRelay(std::move(ask), or_file, pace));
  relay->own_end_ = Fd(ends[0]);
  relay->process_end_ = Fd(ends[1]);
  relay->thread_ = TRY(Thread::start("tpm-counter", serve, relay.get()));
  return relay;
}

CounterRelay::~CounterRelay() {
  ::shutdown(own_end_.get(), SHUT_RDWR);
  thread_.join();
}

// Until the socket is shut down, or the process breaks the protocol.
void CounterRelay::serve(void* opaque) {
  auto& relay = *static_cast<CounterRelay*>(opaque);
  while (true) {
    Result<vtpm::CounterRequest> request = vtpm::receive_counter_request(relay.own_end_.get());
    if (!request) break;
    const Result<CounterValue> answer = relay.answer(*request);
    wipe(request->password);
    if (!vtpm::send_counter_answer(relay.own_end_.get(), answer)) break;
  }
  ::shutdown(relay.own_end_.get(), SHUT_RDWR);
}

// False: the relay is ending.
bool CounterRelay::await_turn() {
  while (true) {
    const auto intervals = (Clock::now() - refilled_) / pace_.interval;
    refilled_ += intervals * pace_.interval;
    left_ = static_cast<unsigned>(std::min<std::int64_t>(pace_.burst, left_ + intervals));
    if (left_ > 0) break;
    const auto rest = refilled_ + pace_.interval - Clock::now();
    pollfd ended{own_end_.get(), 0, 0};
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(rest).count();
    if (::poll(&ended, 1, static_cast<int>(std::max<std::int64_t>(wait, 0))) > 0) return false;
  }
  --left_;
  return true;
}

Result<CounterValue> CounterRelay::answer(const vtpm::CounterRequest& request) {
  if (request.action != CounterAction::kRead && !await_turn()) {
    return Error{Errc::kClosed, 0, "the partition is ending"};
  }
  const Result<CounterValue> counter = ask_(request);
  if (counter) {
    counted_ = true;
    return counter;
  }
  log_failure("tpm_not_counted", counter.error());
  const bool file_does = request.action == CounterAction::kMake && or_file_;
  return Error{file_does ? Errc::kNotFound : Errc::kClosed, 0, "no counter"};
}

}  // namespace bulkhead
