// SPDX-License-Identifier: Apache-2.0
#include "vtpm/process_handle.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>

#include "base/log.h"
#include "crypto/kdf.h"

namespace bulkhead::vtpm {
namespace {

constexpr int kHighDescriptor = 16;  // above those that the process gets
constexpr int kProgramFd = kHostCounterFd + 1;
constexpr int kEndMs = 2000;

Result<Fd> duplicate_high(int fd) {
  Fd high(::fcntl(fd, F_DUPFD_CLOEXEC, kHighDescriptor));
  if (!high.valid()) return os_error("cannot duplicate a descriptor");
  return high;
}

struct Pair {
  Fd first;
  Fd second;
};

Result<Pair> make_sockets() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return os_error("cannot create a pair of sockets");
  }
  return Pair{Fd(ends[0]), Fd(ends[1])};
}

// The reading end of a pipe with the key in it.
Result<Fd> key_pipe(const SecretBytes& key) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return os_error("cannot create a pipe");
  const Fd writer(ends[1]);
  Fd reader(ends[0]);
  if (::write(writer.get(), key.bytes().data(), key.size()) != static_cast<ssize_t>(key.size())) {
    return os_error("cannot write to a pipe");
  }
  return reader;
}

// How the process starts: with these descriptors and its standard error, and with the signals
// blocked that end a monitor, which has to write the TPM's last state first.
class SpawnSettings {
 public:
  SpawnSettings() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }

  Result<void> give(int fd, int as) {
    Fd high = TRY(duplicate_high(fd));
    ok_ = ok_ && posix_spawn_file_actions_adddup2(&actions_, high.get(), as) == 0;
    copies_.push_back(std::move(high));
    return {};
  }

  // A descriptor of ours may have such a number by chance.
  void withhold(int first) {
    for (int fd = first; fd < kProgramFd; ++fd) {
      ok_ = ok_ && posix_spawn_file_actions_addclose(&actions_, fd) == 0;
    }
  }

  bool finish() {
    sigset_t all;
    sigfillset(&all);
    return ok_ && posix_spawn_file_actions_addclose(&actions_, STDIN_FILENO) == 0 &&
           posix_spawn_file_actions_addclose(&actions_, STDOUT_FILENO) == 0 &&
           posix_spawn_file_actions_addclosefrom_np(&actions_, kProgramFd + 1) == 0 &&
           posix_spawnattr_setsigmask(&attributes_, &all) == 0 &&
           posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK) == 0;
  }

  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
  std::vector<Fd> copies_;
  bool ok_ = true;
};

Result<void> give_state(SpawnSettings& settings, const StateFiles& state) {
  const Fd key = TRY(key_pipe(TRY(derive_state_key(state.partition_key))));
  TRY(settings.give(key.get(), kKeyFd));
  TRY(settings.give(state.state_fd, kStateFd));
  TRY(settings.give(state.counter_fd, kCounterFd));
  if (state.host_counter_fd >= 0) return settings.give(state.host_counter_fd, kHostCounterFd);
  settings.withhold(kHostCounterFd);
  return {};
}

Result<pid_t> spawn(const SpawnSettings& settings) {
  const std::string path = "/proc/self/fd/" + std::to_string(kProgramFd);
  std::string name = "bulkhead-vtpm";
  std::string parent = std::to_string(::getpid());
  std::array<char*, 3> arguments{name.data(), parent.data(), nullptr};
  std::array<char*, 1> environment{nullptr};
  pid_t child = 0;
  const int error = ::posix_spawn(&child, path.c_str(), settings.actions(), settings.attributes(),
                                  arguments.data(), environment.data());
  if (error != 0) return os_error(error, "cannot start bulkhead-vtpm");
  return child;
}

}  // namespace

Result<SecretBytes> derive_state_key(const SecretBytes& partition_key) {
  constexpr std::string_view kLabel = "bulkhead/vtpm/v1";
  return hkdf_sha256({.key = partition_key.bytes(), .info = std::as_bytes(std::span(kLabel))}, 32);
}

Result<std::unique_ptr<ProcessHandle>> ProcessHandle::start(const Request& request) {
  Pair sockets = TRY(make_sockets());
  SpawnSettings settings;
  TRY(settings.give(sockets.second.get(), kSocketFd));
  TRY(settings.give(request.program_fd, kProgramFd));
  if (request.state != nullptr) {
    TRY(give_state(settings, *request.state));
  } else {
    settings.withhold(kKeyFd);
  }
  if (!settings.finish()) {
    return Error{Errc::kExhausted, 0, "no memory to start bulkhead-vtpm"};
  }
  const pid_t pid = TRY(spawn(settings));
  return std::unique_ptr<ProcessHandle>(
      new ProcessHandle(pid, std::move(sockets.first), request.patience));
}

bool ProcessHandle::ended_within(int milliseconds) const {
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  pollfd ended{process.get(), POLLIN, 0};
  return process.valid() && ::poll(&ended, 1, milliseconds) == 1;
}

ProcessHandle::~ProcessHandle() {
  const bool asked = client_.shut_down().has_value();
  if (!asked || !ended_within(kEndMs)) ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace bulkhead::vtpm
