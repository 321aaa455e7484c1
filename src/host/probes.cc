// SPDX-License-Identifier: Apache-2.0
#include "host/probes.h"

#include <linux/io_uring.h>
#include <linux/landlock.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "kvm/system.h"
#include "mem/daemon_connection.h"
#include "mem/userfault.h"

namespace bulkhead::host {

namespace {

int ask(const kvm::System& system, kvm::Capability capability) {
  return system.capability(capability).value_or(0);
}

KvmProbe probe_kvm() {
  using kvm::Capability;
  KvmProbe probe;
  auto system = kvm::System::open();
  if (!system) {
    probe.error = system.error().what;
    return probe;
  }
  probe.opens = true;
  probe.max_vcpus = ask(*system, Capability::kMaxVcpus);
  probe.max_slots = ask(*system, Capability::kNrMemslots);
  probe.guest_memfd = ask(*system, Capability::kGuestMemfd) > 0;
  constexpr int kFlagMmap = 1;
  probe.guest_memfd_mappable = (ask(*system, Capability::kGuestMemfdFlags) & kFlagMmap) != 0;
  probe.read_only_slots = ask(*system, Capability::kReadonlyMem) > 0;
  probe.exit_on_emulation_failure = ask(*system, Capability::kExitOnEmulationFailure) > 0;
  probe.prefault = ask(*system, Capability::kPreFaultMemory) > 0;
  probe.tsc_deadline = ask(*system, Capability::kTscDeadlineTimer) > 0;
  return probe;
}

// Whether a system call that makes a descriptor works here; the descriptor goes at once.
template <class... Args>
bool makes_descriptor(long number, Args... args) {
  return Fd(static_cast<int>(::syscall(number, args...))).valid();
}

bool probe_io_uring() {
  io_uring_params params{};
  return makes_descriptor(SYS_io_uring_setup, 1U, &params);
}

std::optional<std::uint64_t> memlock_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return {};
  return limit.rlim_cur;
}

UserFaultProbe probe_userfault() {
  UserFaultProbe probe;
  const auto fault = UserFault::create();
  probe.works = fault.has_value();
  if (!fault) probe.error = fault.error().what;
  probe.protects = fault && fault->protects();
  return probe;
}

// Only monitors that root starts get carved memory: its descriptor is /dev/mem.
DaemonProbe probe_daemon(const std::string& socket) {
  constexpr int kPatienceSeconds = 2;
  DaemonProbe probe;
  auto connection = daemon::Connection::open(socket, kPatienceSeconds);
  const auto pools = connection ? connection->pools() : connection.error();
  probe.answers = pools.has_value();
  if (!pools) {
    probe.error = pools.error().what;
    return probe;
  }
  probe.pools = pools->size();
  for (const daemon::PoolStatus& pool : *pools) {
    probe.total_bytes += pool.frames * kFrameSize;
    probe.free_bytes += pool.free_frames * kFrameSize;
    if (pool.backing != Backing::kCarved || ::geteuid() != 0) continue;
    probe.carved_free_bytes += pool.free_frames * kFrameSize;
  }
  return probe;
}

int probe_landlock() {
  long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0UL, LANDLOCK_CREATE_RULESET_VERSION);
  return abi < 0 ? 0 : static_cast<int>(abi);
}

}  // namespace

Probes probe_host(const std::string& daemon_socket) {
  Probes probes;
  probes.kvm = probe_kvm();
  probes.sealed_memfd = makes_descriptor(SYS_memfd_create, "bulkhead-doctor",
                                         unsigned{MFD_CLOEXEC | MFD_ALLOW_SEALING});
  probes.memlock_limit_bytes = memlock_limit();
  probes.io_uring = probe_io_uring();
  probes.memfd_secret = makes_descriptor(SYS_memfd_secret, 0U);
  probes.userfault = probe_userfault();
  probes.daemon = probe_daemon(daemon_socket);
  probes.landlock_abi = probe_landlock();
  probes.seccomp = ::prctl(PR_GET_SECCOMP) >= 0;
  return probes;
}

}  // namespace bulkhead::host
