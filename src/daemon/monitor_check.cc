// SPDX-License-Identifier: Apache-2.0
#include "daemon/monitor_check.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string_view>

namespace bulkhead::daemon {
namespace {

Error refused(const char* what) {
  return Error{Errc::kPermission, 0, what};
}

// The directory of this very process: once open it belongs to no other, and what is opened in it
// fails when the process has ended.
Result<Fd> open_process(const ProcessIdentity& process) {
  std::array<char, 32> path{};
  std::snprintf(path.data(), path.size(), "/proc/%d", process.pid);
  Fd directory = TRY(Fd::open(path.data(), O_RDONLY | O_DIRECTORY));
  pollfd ended{.fd = process.pidfd.get(), .events = POLLIN, .revents = 0};
  if (::poll(&ended, 1, 0) != 0) return refused("the process has ended");
  return directory;
}

// Of another user's process these files are root's exactly if it cannot be dumped, and so not be
// traced by its user (proc(5)). Nobody but root traces root's.
Result<void> check_dumpable(int process_directory, uid_t user) {
  struct stat status{};
  if (::fstatat(process_directory, "environ", &status, AT_SYMLINK_NOFOLLOW) != 0) {
    return refused("the process has ended");
  }
  if (user == 0 || status.st_uid == 0) return {};
  return refused("the process lets its user look into it");
}

Result<void> check_traced(int process_directory) {
  constexpr std::string_view kField = "\nTracerPid:\t";
  const Fd file(::openat(process_directory, "status", O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> buffer{};
  const ssize_t got = file.valid() ? ::read(file.get(), buffer.data(), buffer.size()) : -1;
  if (got <= 0) return refused("the process has ended");
  const std::string_view text(buffer.data(), static_cast<std::size_t>(got));
  const std::size_t at = text.find(kField);
  if (at != std::string_view::npos && text.substr(at + kField.size()).starts_with("0\n")) return {};
  return refused("the process is traced");
}

}  // namespace

Result<MonitorCheck> MonitorCheck::create(const std::string& program, Users users) {
  const Fd file = TRY(Fd::open(program.c_str(), O_PATH));
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return os_error("cannot examine the monitor's program");
  const bool ours = status.st_uid == 0 || status.st_uid == ::geteuid();
  if (!S_ISREG(status.st_mode) || !ours || (status.st_mode & 022) != 0) {
    return refused("the monitor's program must be a file of root's that nobody else can write to");
  }
  return MonitorCheck(status.st_dev, status.st_ino, users);
}

Result<void> MonitorCheck::check_program(int process_directory) const {
  const Fd program(::openat(process_directory, "exe", O_PATH | O_CLOEXEC));
  struct stat status{};
  if (!program.valid() || ::fstat(program.get(), &status) != 0) {
    return refused("the process has ended");
  }
  if (status.st_dev == device_ && status.st_ino == inode_) return {};
  return refused("the process is not the bulkhead-vmm that belongs to this bulkheadd");
}

Result<void> MonitorCheck::judge(const Peer& peer, pid_t sender, const Switches& switches) const {
  if (switches.user && users_ == Users::kRoot && peer.uid != 0) {
    return refused("only root's partitions get certificates: see --certify in bulkheadd(8)");
  }
  if (switches.sender && sender != peer.process.pid) {
    return refused("another process than the one that connected asks");
  }
  const Fd directory = TRY(open_process(peer.process));
  if (switches.program) TRY(check_program(directory.get()));
  if (switches.dumpable) TRY(check_dumpable(directory.get(), peer.uid));
  if (switches.traced) TRY(check_traced(directory.get()));
  return {};
}

}  // namespace bulkhead::daemon
