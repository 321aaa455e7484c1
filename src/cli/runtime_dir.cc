// SPDX-License-Identifier: Apache-2.0
#include "cli/runtime_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "cli/error.h"
#include "vmm/launch_spec.h"

namespace bulkhead::cli {
namespace {

constexpr int kMaxAutomaticNames = 10000;

std::string usual_place() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the command line has one thread
  if (const char* place = std::getenv("BULKHEAD_RUNTIME_DIR"); place != nullptr && *place == '/') {
    return place;
  }
  if (::geteuid() == 0) return "/run/bulkhead";
  // NOLINTNEXTLINE(concurrency-mt-unsafe)
  if (const char* place = std::getenv("XDG_RUNTIME_DIR"); place != nullptr && *place == '/') {
    return std::string(place) + "/bulkhead";
  }
  return "/tmp/bulkhead-" + std::to_string(::geteuid());
}

void make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return;
  throw HostError("cannot create '" + path + "': " + errno_text(errno) +
                  "; set BULKHEAD_RUNTIME_DIR to a directory of yours");
}

// Below /tmp others could have put something else in this place.
void check_own(const std::string& path) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode) &&
      status.st_uid == ::geteuid() && (status.st_mode & 022) == 0) {
    return;
  }
  throw HostError("'" + path +
                  "' is not a directory that only you can write to; remove it, or set " +
                  "BULKHEAD_RUNTIME_DIR to another");
}

Fd open_directory(const std::string& path) {
  auto fd = Fd::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  return fd ? std::move(*fd) : Fd();
}

bool lock(const Fd& directory) {
  return ::flock(directory.get(), LOCK_EX | LOCK_NB) == 0;
}

// Whether the open directory is still the one at the path: another process may have removed it, and
// perhaps made a new one, before the lock was ours.
bool is_at(const Fd& directory, const std::string& path) {
  struct stat open{};
  struct stat named{};
  return ::fstat(directory.get(), &open) == 0 && ::lstat(path.c_str(), &named) == 0 &&
         open.st_ino == named.st_ino && open.st_dev == named.st_dev;
}

void empty(const Fd& directory) {
  for (const char* file : kRuntimeFiles) ::unlinkat(directory.get(), file, 0);
}

// The path of a socket may be longer than sun_path; the one through /proc never is.
sockaddr_un control_address(const Fd& directory) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = "/proc/self/fd/" + std::to_string(directory.get()) + "/control.sock";
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

const sockaddr* generic(const sockaddr_un& address) {
  return static_cast<const sockaddr*>(static_cast<const void*>(&address));
}

}  // namespace

RuntimeDir RuntimeDir::open() {
  std::string path = usual_place();
  make_directory(path);
  check_own(path);
  return RuntimeDir(std::move(path));
}

Fd RuntimeDir::try_claim(const std::string& entry) const {
  // A command that looks for dead entries holds the lock for a moment; a partition keeps it.
  constexpr int kTries = 10;
  constexpr useconds_t kPauseUs = 10000;
  for (int i = 0; i < kTries; ++i) {
    make_directory(entry);
    Fd directory = open_directory(entry);
    if (directory.valid() && lock(directory)) {
      if (is_at(directory, entry)) return directory;
    } else {
      ::usleep(kPauseUs);
    }
  }
  return Fd();
}

RuntimeEntry RuntimeDir::claim(const std::string& name) const {
  RuntimeEntry entry{name, entry_path(name), try_claim(entry_path(name))};
  if (!entry.directory.valid()) {
    throw UsageError("a partition named '" + name +
                     "' is running; choose another --name, or end it " + "with 'bulkhead stop " +
                     name + "'");
  }
  empty(entry.directory);
  return entry;
}

RuntimeEntry RuntimeDir::claim_any() const {
  for (int i = 1; i <= kMaxAutomaticNames; ++i) {
    const std::string name = std::string("p").append(std::to_string(i));
    if (is_live(name)) continue;
    Fd directory = try_claim(entry_path(name));
    if (!directory.valid()) continue;
    empty(directory);
    return RuntimeEntry{name, entry_path(name), std::move(directory)};
  }
  throw UsageError("no automatic name is free; give one with --name");
}

bool RuntimeDir::is_live(const std::string& name) const {
  const Fd directory = open_directory(entry_path(name));
  return directory.valid() && !lock(directory);
}

bool RuntimeDir::wait_until_dead(const std::string& name, int timeout_ms) const {
  constexpr int kPauseMs = 10;
  for (int waited_ms = 0; waited_ms < timeout_ms; waited_ms += kPauseMs) {
    if (!is_live(name)) return true;
    ::usleep(kPauseMs * 1000);
  }
  return !is_live(name);
}

void RuntimeDir::remove_if_dead(const std::string& name) const {
  const std::string entry = entry_path(name);
  const Fd directory = open_directory(entry);
  if (!directory.valid() || !lock(directory) || !is_at(directory, entry)) return;
  empty(directory);
  ::rmdir(entry.c_str());
}

std::vector<std::string> RuntimeDir::live() const {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(::opendir(path_.c_str()), ::closedir);
  if (listing == nullptr) return names;
  while (const dirent* item = ::readdir(listing.get())) {  // NOLINT(concurrency-mt-unsafe)
    if (is_valid_partition_name(item->d_name)) names.emplace_back(item->d_name);
  }
  std::erase_if(names, [this](const std::string& name) {
    if (is_live(name)) return false;
    remove_if_dead(name);
    return true;
  });
  std::sort(names.begin(), names.end());
  return names;
}

pid_t RuntimeDir::pid_of(const std::string& name) const {
  const auto file = Fd::open((entry_path(name) + "/pid").c_str(), O_RDONLY);
  char text[16] = {};
  if (!file || ::read(file->get(), text, sizeof text - 1) <= 0) return 0;
  pid_t pid = 0;
  std::from_chars(text, text + std::strlen(text), pid);
  return pid;
}

Fd listen_control(const RuntimeEntry& entry) {
  constexpr int kBacklog = 16;
  Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const sockaddr_un address = control_address(entry.directory);
  if (!listener.valid() || ::bind(listener.get(), generic(address), sizeof address) != 0 ||
      ::listen(listener.get(), kBacklog) != 0) {
    throw HostError("cannot create a control socket in '" + entry.path + "': " + errno_text(errno));
  }
  return listener;
}

Fd connect_control(const RuntimeDir& runtime, const std::string& name) {
  const Fd directory = open_directory(runtime.entry_path(name));
  if (!directory.valid() || !runtime.is_live(name)) {
    runtime.remove_if_dead(name);
    throw HostError("no partition named '" + name + "' is running; see 'bulkhead ps'");
  }
  Fd connection(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = control_address(directory);
  if (!connection.valid() || ::connect(connection.get(), generic(address), sizeof address) != 0) {
    throw HostError("partition '" + name + "' does not answer: " + errno_text(errno) +
                    "; try again, or use 'bulkhead stop --force " + name + "'");
  }
  return connection;
}

void write_pid_file(int directory, pid_t pid) {
  const Fd file(::openat(directory, "pid", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  const std::string text = std::to_string(pid) + "\n";
  [[maybe_unused]] auto written = ::write(file.get(), text.data(), text.size());
}

}  // namespace bulkhead::cli
