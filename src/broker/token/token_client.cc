// SPDX-License-Identifier: Apache-2.0
#include "broker/token/token_client.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/log.h"

namespace bulkhead::broker {
namespace {

Error not_there() {
  return Error{Errc::kBusy, 0, "the key token is being opened again; try again in a second"};
}

bool readable(int fd, int timeout_ms) {
  pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&entry, 1, timeout_ms) == 1;
}

void kill_process(int pidfd) {
  ::syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0);
}

void reap(int pidfd) {
  siginfo_t info;
  while (::waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED) != 0 && errno == EINTR) {
  }
}

// posix_spawn's lists, freed at the end.
class SpawnActions {
 public:
  SpawnActions() {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
  }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
  ~SpawnActions() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }

  Result<int> run(const std::vector<std::string>& command, int socket) {
    ::posix_spawn_file_actions_adddup2(&actions_, socket, kTokenSocket);
    sigset_t none;
    sigemptyset(&none);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK);
    std::vector<char*> arguments;
    for (const std::string& each : command) arguments.push_back(const_cast<char*>(each.c_str()));
    arguments.push_back(nullptr);
    int id = 0;
    const int code = ::posix_spawn(&id, command.front().c_str(), &actions_, &attributes_,
                                   arguments.data(), environ);
    if (code != 0) return os_error(code, "cannot start the token process");
    return id;
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

Result<Bytes> as_bytes(const Result<SecretBytes>& secret, std::size_t wanted) {
  if (!secret) return secret.error();
  if (wanted != 0 && secret->size() != wanted) return not_there();
  const auto bytes = secret->bytes();
  return Bytes(bytes.begin(), bytes.end());
}

}  // namespace

Result<std::unique_ptr<TokenClient>> TokenClient::start(Options options) {
  Fd stop = TRY(Fd::event());
  std::unique_ptr<TokenClient> client(new TokenClient(std::move(options), std::move(stop)));
  TRY(client->install());
  client->supervisor_ = std::thread([raw = client.get()] { raw->supervise(); });
  return client;
}

TokenClient::~TokenClient() {
  signal_event(stop_.get());
  if (supervisor_.joinable()) supervisor_.join();
  retire();
}

Result<TokenClient::Process> TokenClient::spawn() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return os_error("cannot create a pair of sockets");
  }
  Process process{.socket = Fd(ends[0]), .pidfd = {}, .id = 0};
  Fd theirs(ends[1]);
  // Descriptor 3 itself would keep its close-on-exec flag through dup2.
  if (theirs.get() == kTokenSocket) theirs = TRY(theirs.duplicate());
  process.id = TRY(SpawnActions().run(options_.command, theirs.get()));
  process.pidfd = Fd(static_cast<int>(::syscall(SYS_pidfd_open, process.id, 0)));
  if (!process.pidfd.valid()) return os_error("cannot watch the token process");
  return process;
}

// The first datagram says whether the token is open.
Result<void> TokenClient::await_ready(const Process& process) {
  std::array<std::byte, 16> message;
  if (!readable(process.socket.get(), options_.start_ms)) {
    return Error{Errc::kTimeout, 0, "the token process does not open the token"};
  }
  const ssize_t got = ::recv(process.socket.get(), message.data(), message.size(), 0);
  if (got <= 0) return Error{Errc::kClosed, 0, "the token process ended: see the log"};
  TRY(decode_answer(std::span(message).first(static_cast<std::size_t>(got))));
  return {};
}

Result<void> TokenClient::install() {
  Process process = TRY(spawn());
  const Result<void> ready = await_ready(process);
  if (!ready) {
    kill_process(process.pidfd.get());
    reap(process.pidfd.get());
    return ready.error();
  }
  ++starts_;
  const MutexLock lock(mutex_);
  process_ = std::move(process);
  return {};
}

// Whether `fd` became readable before the end; false when the supervisor shall end.
bool TokenClient::wait(int fd, int timeout_ms) {
  std::array entries = {pollfd{.fd = stop_.get(), .events = POLLIN, .revents = 0},
                        pollfd{.fd = fd, .events = POLLIN, .revents = 0}};
  while (::poll(entries.data(), fd < 0 ? 1 : 2, timeout_ms) < 0 && errno == EINTR) {
  }
  return entries[0].revents == 0;
}

void TokenClient::retire() {
  Process old;
  {
    const MutexLock lock(mutex_);
    old = std::move(process_);
    process_ = {};
  }
  if (!old.pidfd.valid()) return;
  kill_process(old.pidfd.get());
  reap(old.pidfd.get());
}

void TokenClient::supervise() {
  while (true) {
    int pidfd = -1;
    {
      const MutexLock lock(mutex_);
      pidfd = process_.pidfd.get();
    }
    if (pidfd >= 0) {
      if (!wait(pidfd, -1)) return;
      log_warning("token-process-ended");
      retire();
    }
    if (!wait(-1, options_.pause_ms)) return;
    const Result<void> started = install();
    if (!started) log_failure("token-process-start", started.error());
  }
}

Result<SecretBytes> TokenClient::exchange(const SecretBytes& message) {
  const auto bytes = message.bytes();
  const int socket = process_.socket.get();
  if (::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(bytes.size())) {
    return not_there();
  }
  if (!readable(socket, options_.answer_ms)) return not_there();
  SecretBytes buffer = TRY(SecretBytes::create(kMaxTokenMessage));
  const ssize_t got = ::recv(socket, buffer.bytes().data(), buffer.size(), 0);
  if (got <= 0) return not_there();
  return SecretBytes::copy_of(buffer.bytes().first(static_cast<std::size_t>(got)));
}

Result<SecretBytes> TokenClient::call(const TokenRequest& request) {
  const SecretBytes message = TRY(encode_request(request));
  Result<SecretBytes> answer = not_there();
  {
    const MutexLock lock(mutex_);
    if (!process_.socket.valid()) return not_there();
    answer = exchange(message);
    if (!answer) {
      // A late answer would be taken for the next one's: this process is done. The supervisor sees
      // it end.
      process_.socket.reset();
      kill_process(process_.pidfd.get());
    }
  }
  if (!answer) return answer.error();
  return decode_answer(answer->bytes());
}

bool TokenClient::is_up() {
  const MutexLock lock(mutex_);
  return process_.socket.valid();
}

int TokenClient::process_id() {
  const MutexLock lock(mutex_);
  return process_.socket.valid() ? process_.id : 0;
}

Result<void> TokenClient::make_keys(const std::string& tenant) {
  TRY(call({.operation = TokenOperation::kMakeKeys, .tenant = tenant, .payload = {}}));
  return {};
}

Result<Bytes> TokenClient::wrap(const std::string& tenant, const SecretBytes& key) {
  return as_bytes(
      call({.operation = TokenOperation::kWrap, .tenant = tenant, .payload = key.bytes()}), 0);
}

Result<SecretBytes> TokenClient::unwrap(const std::string& tenant,
                                        std::span<const std::byte> wrapped) {
  return call({.operation = TokenOperation::kUnwrap, .tenant = tenant, .payload = wrapped});
}

Result<Bytes> TokenClient::sign(const std::string& tenant, const Sha256Digest& digest) {
  return as_bytes(call({.operation = TokenOperation::kSign, .tenant = tenant, .payload = digest}),
                  kEcdsaBytes);
}

Result<Bytes> TokenClient::public_point(const std::string& tenant) {
  return as_bytes(
      call({.operation = TokenOperation::kPublicPoint, .tenant = tenant, .payload = {}}),
      kPointBytes);
}

}  // namespace bulkhead::broker
