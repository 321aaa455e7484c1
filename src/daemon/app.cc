// SPDX-License-Identifier: Apache-2.0
#include "daemon/app.h"

#include <grp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "base/log.h"
#include "daemon/options.h"
#include "daemon/server.h"
#include "daemon/state.h"
#include "hostca/tpm/open_host_ca.h"
#include "mem/carved_range.h"

namespace bulkhead::daemon {

using namespace hostca;

namespace {

constexpr int kExitHost = 1;
constexpr int kExitUsage = 2;
constexpr rlim_t kFiles = 8192;  // 1,024 owners, 64 clients with two each, and what is on its way

// The host did not do as asked: exit status 1.
class HostError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

void print_error(std::string message) {
  for (char& c : message) {
    if ((c >= 0 && c < ' ') || c == 0x7f) c = '?';
  }
  std::fprintf(stderr, "bulkheadd: %s\n", message.c_str());
}

template <class T>
T value_of(Result<T> result, const std::string& subject) {
  if (result) return std::move(result).value();
  const Error error = result.error();
  std::string text = subject + ": " + error.what;
  if (error.os_errno != 0) text += std::string(": ") + strerrordesc_np(error.os_errno);
  throw HostError(text);
}

// No core file and no ptrace: we have every frame open at times.
void harden_process() {
  const rlimit none{0, 0};
  if (::prctl(PR_SET_DUMPABLE, 0) != 0 || ::setrlimit(RLIMIT_CORE, &none) != 0) {
    throw HostError("cannot forbid core files");
  }
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < kFiles) {
    files.rlim_cur = std::min<rlim_t>(files.rlim_max, kFiles);
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  ::signal(SIGPIPE, SIG_IGN);
  // Our log has a line for what tpm2-tss would say in several. NOLINTNEXTLINE: no thread yet
  ::setenv("TSS2_LOG", "all+none", 0);
}

std::optional<gid_t> find_group(const std::string& name) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the daemon has one thread
  const group* found = ::getgrnam(name.c_str());
  if (found == nullptr) return std::nullopt;
  return found->gr_gid;
}

// Without the default group nobody is let in by mistake; who expected to be must learn why.
std::optional<gid_t> open_to(const DaemonOptions& options) {
  const std::optional<gid_t> group = group_of(options, find_group);
  if (!group && options.group.empty()) {
    log_warning("only-root-may-connect", {{"missing_group", kDefaultGroup}});
  }
  return group;
}

std::string pool_name(const PoolOption& option) {
  const std::string kind = option.backing == Backing::kMemfd ? "memfd" : "hugetlb";
  return option.numa_node ? kind + "-" + std::to_string(*option.numa_node) : kind;
}

PoolSource open_pool(const PoolOption& option, const std::string& directory) {
  if (option.backing == Backing::kCarved) {
    const std::string subject = "--pool carved:" + option.carved;
    const CarvedRange range = value_of(CarvedRange::parse(option.carved), subject);
    return {.pool = value_of(create_carved_pool(range), subject), .physical_base = range.base()};
  }
  const std::string name = pool_name(option);
  return {.pool = value_of(create_file_pool({.backing = option.backing,
                                             .directory = directory + "/" + name,
                                             .frames = option.size_bytes / kFrameSize,
                                             .numa_node = option.numa_node}),
                           "--pool " + name)};
}

// Two pools of one kind and node would be one directory.
std::vector<PoolSource> open_pools(const DaemonOptions& options) {
  const std::string directory = options.runtime_dir + "/pools";
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    throw HostError(directory + ": " + strerrordesc_np(errno));
  }
  std::vector<PoolSource> pools;
  std::vector<std::string> names;
  for (const PoolOption& option : options.pools) {
    if (option.backing != Backing::kCarved) {
      const std::string name = pool_name(option);
      if (std::find(names.begin(), names.end(), name) != names.end()) {
        throw UsageError("--pool: " + name + " is there twice; give one of them the whole size");
      }
      names.push_back(name);
    }
    pools.push_back(open_pool(option, directory));
  }
  return pools;
}

// SIGTERM and SIGINT, as an event. What partitions hold stays theirs: they outlive us.
class Ending final : public EventHandler {
 public:
  Ending(EventLoop& loop, Server& server) : loop_(loop), server_(server) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    if (::sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) throw HostError("cannot block signals");
    signals_ = Fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    watch_ = value_of(Watch::create(loop, signals_.get(), EPOLLIN, *this), "signals");
  }
  void on_ready(std::uint32_t /*events*/) override {
    server_.refuse_takes();
    loop_.stop();
  }

 private:
  EventLoop& loop_;
  Server& server_;
  Fd signals_;
  Watch watch_;
};

std::string ready_line(FrameKeeper& keeper, const std::string& socket) {
  std::uint64_t free = 0;
  for (std::size_t i = 0; i < keeper.pools().size(); ++i) free += keeper.ledger().free_frames(i);
  return "bulkheadd: ready at " + socket + ", " + std::to_string(keeper.pools().size()) +
         " pools, " + std::to_string(keeper.ledger().frames()) + " frames, " +
         std::to_string(free) + " free";
}

// Beside our own program. One that others could change would get certificates for them.
std::string monitor_program() {
  std::error_code ignored;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", ignored);
  return (own.parent_path() / "bulkhead-vmm").string();
}

// Frames do not depend on it: without a monitor to trust there are just no certificates.
std::optional<MonitorCheck> certified_monitors(const DaemonOptions& options) {
  if (options.certify == CertifyFor::kNobody) return std::nullopt;
  const bool anybody = options.certify == CertifyFor::kGroup;
  auto check = MonitorCheck::create(
      monitor_program(), anybody ? MonitorCheck::Users::kAnybody : MonitorCheck::Users::kRoot);
  if (check) return std::move(*check);
  log_failure("no-certificates", check.error());
  return std::nullopt;
}

Result<std::unique_ptr<HostCa>> open_certification(const DaemonOptions& options) {
  return open_host_ca(TRY(StateDirectory::open(options.host_state)), options.tpm);
}

int run(const DaemonOptions& options) {
  if (::geteuid() != 0) throw HostError("only root can keep the host's frames: start it as root");
  harden_process();
  const std::optional<gid_t> group = open_to(options);
  const Fd lock = value_of(lock_runtime_dir(options.runtime_dir), options.runtime_dir);
  std::vector<PoolSource> pools = open_pools(options);
  const auto keeper = value_of(
      open_keeper(options.runtime_dir, std::move(pools), options.per_user_bytes / kFrameSize),
      options.runtime_dir);
  const auto loop = value_of(EventLoop::create(), "event loop");
  Fd listener = value_of(listen_at(options.runtime_dir, group), options.runtime_dir);
  const auto certifier = value_of(
      Certifier::create(*loop, [&options] { return open_certification(options); }), "certifier");
  const auto counters =
      value_of(HostCounters::create(*loop, HostCounters::in_tpm(options.tpm)), "counters");
  const auto files = value_of(MeasuredFiles::create(*loop), "measurer");
  const auto server = value_of(Server::create(*loop, *keeper,
                                              {.listener = std::move(listener),
                                               .group = group,
                                               .certifier = certifier.get(),
                                               .monitors = certified_monitors(options),
                                               .counters = counters.get(),
                                               .files = files.get()}),
                               options.runtime_dir);
  const Ending ending(*loop, *server);
  std::puts(ready_line(*keeper, options.runtime_dir + "/socket").c_str());
  std::fflush(stdout);
  const Result<void> ended = loop->run();
  if (!ended) throw HostError(ended.error().what);
  ::unlink((options.runtime_dir + "/socket").c_str());
  return 0;
}

}  // namespace

int run_program(int argc, char** argv) {
  try {
    const std::optional<DaemonOptions> options = parse_options(argc, argv);
    return options ? run(*options) : 0;
  } catch (const UsageError& error) {
    print_error(error.what());
    return kExitUsage;
  } catch (const std::exception& error) {
    print_error(error.what());
    return kExitHost;
  }
}

}  // namespace bulkhead::daemon
