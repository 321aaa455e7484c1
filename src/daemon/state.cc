// SPDX-License-Identifier: Apache-2.0
#include "daemon/state.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/log.h"
#include "daemon/process_identity.h"

namespace bulkhead::daemon {
namespace {

constexpr int kBacklog = 64;

std::vector<PoolSetup> setups_of(std::span<const PoolSource> pools) {
  std::vector<PoolSetup> setups;
  for (const PoolSource& source : pools) {
    setups.push_back({.backing = source.pool->backing(),
                      .numa_node = source.pool->numa_node(),
                      .frames = source.pool->frames(),
                      .physical_base = source.physical_base,
                      .unscrubbed = source.pool->starts_unscrubbed()});
  }
  return setups;
}

bool same_pools(std::span<const PoolRecord> records, std::span<const PoolSetup> setups) {
  const auto same = [](const PoolRecord& record, const PoolSetup& setup) {
    return record.backing == setup.backing && record.numa_node == setup.numa_node &&
           record.run.frames == setup.frames && record.physical_base == setup.physical_base;
  };
  return std::equal(records.begin(), records.end(), setups.begin(), setups.end(), same);
}

bool is_alive(const PartitionRecord& partition) {
  const auto process = identify_process(static_cast<pid_t>(partition.pid));
  if (!process) return process.error().code != Errc::kNotFound;
  return process->start_time == partition.start_time;
}

// Under another name first, so that a ledger is never half there.
Result<std::unique_ptr<LedgerFile>> create_ledger(const std::string& path,
                                                  std::span<const PoolSetup> setups) {
  const std::string draft = path + ".new";
  if (::unlink(draft.c_str()) != 0 && errno != ENOENT) return os_error("cannot begin a ledger");
  const Fd file = TRY(Fd::open(draft.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  std::uint64_t frames = 0;
  for (const PoolSetup& setup : setups) frames += setup.frames;
  std::unique_ptr<LedgerFile> storage = TRY(LedgerFile::create(file.get(), frames));
  TRY(Ledger::format(*storage, setups));
  if (::rename(draft.c_str(), path.c_str()) != 0) return os_error("cannot name the ledger");
  return storage;
}

// Nothing of it is worth keeping: every frame of the new one is scrubbed, or its pool holds no file
// (FrameKeeper sees to that).
Result<std::unique_ptr<LedgerFile>> replace_ledger(const std::string& path, const Ledger& ledger,
                                                   std::span<const PoolSetup> setups) {
  for (const PartitionRecord& partition : ledger.view().partitions()) {
    if (!is_alive(partition)) continue;
    return Error{Errc::kExists, 0,
                 "partitions run on other pools than these: start with the same --pool options, or "
                 "stop the partitions first"};
  }
  log_info("ledger-replaced", {{"reason", "other pools"}});
  return create_ledger(path, setups);
}

Result<std::unique_ptr<LedgerFile>> open_ledger(const std::string& path,
                                                std::span<const PoolSetup> setups) {
  const Result<Fd> file = Fd::open(path.c_str(), O_RDWR | O_NOFOLLOW);
  if (!file && file.error().code == Errc::kNotFound) return create_ledger(path, setups);
  if (!file) return file.error();
  std::unique_ptr<LedgerFile> storage = TRY(LedgerFile::open(file->get()));
  const Ledger ledger = TRY(Ledger::open(*storage));
  if (!same_pools(ledger.pools(), setups)) return replace_ledger(path, ledger, setups);
  return storage;
}

Result<void> make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) == 0) return {};
  if (errno != EEXIST) return os_error("cannot make the runtime directory");
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) return os_error("cannot look at the runtime directory");
  if (S_ISDIR(status.st_mode) && status.st_uid == ::geteuid() && (status.st_mode & 022) == 0) {
    return {};
  }
  return Error{Errc::kPermission, 0,
               "the runtime directory must be the daemon's own, and writable by nobody else"};
}

}  // namespace

Result<Fd> lock_runtime_dir(const std::string& path) {
  TRY(make_directory(path));
  const std::string name = path + "/lock";
  Fd lock = TRY(Fd::open(name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK) return os_error("cannot lock the runtime directory");
  return Error{Errc::kBusy, 0, "another bulkheadd runs there: stop it, or use --runtime-dir"};
}

Result<std::unique_ptr<FrameKeeper>> open_keeper(const std::string& runtime_dir,
                                                 std::vector<PoolSource> pools,
                                                 std::uint64_t per_user_frames) {
  const std::vector<PoolSetup> setups = setups_of(pools);
  std::unique_ptr<LedgerFile> storage = TRY(open_ledger(runtime_dir + "/ledger", setups));
  const Ledger ledger = TRY(Ledger::open(*storage));
  std::vector<std::unique_ptr<FramePool>> frame_pools;
  for (PoolSource& source : pools) frame_pools.push_back(std::move(source.pool));
  return FrameKeeper::create(std::move(storage), ledger, std::move(frame_pools), per_user_frames);
}

Result<Fd> listen_at(const std::string& runtime_dir, std::optional<gid_t> group) {
  const std::string path = runtime_dir + "/socket";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Error{Errc::kInvalidArgument, 0, "the runtime directory's path is too long"};
  }
  std::memcpy(address.sun_path, path.c_str(), path.size());
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return os_error("cannot remove a socket");
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return os_error("cannot create a socket");
  // Nobody's until it has its group. The process has one thread.
  const mode_t before = ::umask(0777);
  const auto* generic = static_cast<const sockaddr*>(static_cast<const void*>(&address));
  const int bound = ::bind(socket.get(), generic, sizeof address);
  ::umask(before);
  if (bound != 0) return os_error("cannot name the socket");
  if (group && ::chown(path.c_str(), static_cast<uid_t>(-1), *group) != 0) {
    return os_error("cannot give the socket to its group");
  }
  if (::chmod(path.c_str(), group ? 0660 : 0600) != 0) return os_error("cannot open the socket");
  if (::listen(socket.get(), kBacklog) != 0) return os_error("cannot listen on the socket");
  return socket;
}

}  // namespace bulkhead::daemon
