// SPDX-License-Identifier: Apache-2.0
#include "daemon/process_identity.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <string_view>

namespace bulkhead::daemon {
namespace {

constexpr int kPeerPidfd = 77;      // SO_PEERPIDFD, Linux 6.5; Debian 12's headers lack it
constexpr int kFieldsToStart = 19;  // of /proc/PID/stat, from the state to starttime
constexpr std::size_t kMaxGroups = 65536;

Error dead() {
  return Error{Errc::kNotFound, 0, "the process has ended"};
}

bool has_ended(int pidfd) {
  pollfd waiting{.fd = pidfd, .events = POLLIN, .revents = 0};
  return ::poll(&waiting, 1, 0) != 0;
}

// The program's name, in parentheses, may hold anything: fields are counted from its end.
Result<std::uint64_t> parse_start_time(std::string_view stat) {
  const std::size_t end = stat.rfind(") ");
  if (end == std::string_view::npos) return Error{Errc::kMalformed, 0, "unreadable /proc/PID/stat"};
  stat.remove_prefix(end + 2);
  for (int i = 0; i < kFieldsToStart; ++i) {
    const std::size_t space = stat.find(' ');
    if (space == std::string_view::npos) return Error{Errc::kMalformed, 0, "short /proc/PID/stat"};
    stat.remove_prefix(space + 1);
  }
  std::uint64_t value = 0;
  const auto [stop, code] = std::from_chars(stat.data(), stat.data() + stat.size(), value);
  if (code != std::errc{}) return Error{Errc::kMalformed, 0, "unreadable /proc/PID/stat"};
  return value;
}

Result<std::uint64_t> read_start_time(pid_t pid) {
  std::array<char, 64> path{};
  std::snprintf(path.data(), path.size(), "/proc/%d/stat", pid);
  const Fd file = TRY(Fd::open(path.data(), O_RDONLY));
  std::array<char, 1024> text{};
  const ssize_t got = ::read(file.get(), text.data(), text.size());
  if (got <= 0) return dead();
  return parse_start_time({text.data(), static_cast<std::size_t>(got)});
}

// Read while the pidfd says that the process lives: the number is still its own.
Result<ProcessIdentity> complete(pid_t pid, Fd pidfd) {
  ProcessIdentity identity{.pid = pid, .start_time = 0, .pidfd = std::move(pidfd)};
  const Result<std::uint64_t> start = read_start_time(pid);
  if (has_ended(identity.pidfd.get())) return dead();
  identity.start_time = TRY(start);
  return identity;
}

Result<Fd> open_pidfd(pid_t pid) {
  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid()) return errno == ESRCH ? dead() : os_error("cannot watch a process");
  return pidfd;
}

std::vector<gid_t> peer_groups(int connection) {
  std::vector<gid_t> groups(64);
  for (;;) {
    auto length = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    if (::getsockopt(connection, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &length) == 0) {
      groups.resize(length / sizeof(gid_t));
      return groups;
    }
    if (errno != ERANGE || groups.size() >= kMaxGroups) return {};
    groups.resize(groups.size() * 2);
  }
}

}  // namespace

Result<ProcessIdentity> identify_process(pid_t pid) {
  if (pid <= 0) return dead();
  return complete(pid, TRY(open_pidfd(pid)));
}

Result<Peer> identify_peer(int connection) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    return os_error("cannot tell who connected");
  }
  if (credentials.pid <= 0) return Error{Errc::kPermission, 0, "a peer of another pid namespace"};
  int number = -1;
  length = sizeof number;
  Fd pidfd;
  if (::getsockopt(connection, SOL_SOCKET, kPeerPidfd, &number, &length) == 0) {
    pidfd = Fd(number);
  } else {
    pidfd = TRY(open_pidfd(credentials.pid));
  }
  return Peer{.uid = credentials.uid,
              .gid = credentials.gid,
              .groups = peer_groups(connection),
              .process = TRY(complete(credentials.pid, std::move(pidfd)))};
}

bool may_connect(const Peer& peer, std::optional<gid_t> group) {
  if (peer.uid == 0) return true;
  if (!group) return peer.uid == ::geteuid();
  return peer.gid == *group ||
         std::find(peer.groups.begin(), peer.groups.end(), *group) != peer.groups.end();
}

}  // namespace bulkhead::daemon
