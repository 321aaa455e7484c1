// SPDX-License-Identifier: Apache-2.0
#include "vtpm/process/confine.h"

#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <memory>

#include "base/address.h"
#include "vtpm/protocol.h"

namespace bulkhead::vtpm {
namespace {

constexpr std::uint64_t kAddressSpaceBytes = 512 * kMiB;
constexpr std::uint64_t kFileBytes = 64 * kMiB;  // the state is a few KiB; its store, below one MiB

struct Limit {
  __rlimit_resource resource;
  std::uint64_t value;
};

struct Release {
  void operator()(void* filter) const { seccomp_release(filter); }
};

Result<void> set_limits() {
  const Limit limits[] = {{RLIMIT_AS, kAddressSpaceBytes},
                          {RLIMIT_CORE, 0},
                          {RLIMIT_FSIZE, kFileBytes},
                          {RLIMIT_NOFILE, 0}};
  for (const Limit& limit : limits) {
    const rlimit both{limit.value, limit.value};
    if (::setrlimit(limit.resource, &both) != 0) return os_error("cannot set a resource limit");
  }
  return {};
}

// The complete list of what a TPM takes. Everything else kills the process.
class Filter {
 public:
  explicit Filter(scmp_filter_ctx context) : context_(context) {}

  bool build() {
    const scmp_arg_cmp to_log{0, SCMP_CMP_EQ, STDERR_FILENO, 0};
    const scmp_arg_cmp mapped{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0};
    return talk() && keep_state() && allow_if(SCMP_SYS(write), to_log) &&
           allow_if(SCMP_SYS(mmap), mapped) && allow_if(SCMP_SYS(mprotect), mapped) &&
           allow_all({SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(brk), SCMP_SYS(madvise)}) &&
           allow_all({SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(rt_sigprocmask),
                      SCMP_SYS(rseq), SCMP_SYS(set_robust_list)}) &&
           // Where the host's clock cannot be read without a system call.
           allow_all({SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(time)}) &&
           // OpenSSL looks with getpid whether it was forked.
           allow_all({SCMP_SYS(getrandom), SCMP_SYS(getpid)}) &&
           allow_all({SCMP_SYS(close), SCMP_SYS(exit), SCMP_SYS(exit_group)});
  }

 private:
  bool talk() {
    const scmp_arg_cmp socket{0, SCMP_CMP_EQ, kSocketFd, 0};
    const scmp_arg_cmp counter{0, SCMP_CMP_EQ, kHostCounterFd, 0};
    return allow_if(SCMP_SYS(sendmsg), socket) && allow_if(SCMP_SYS(recvfrom), socket) &&
           allow_if(SCMP_SYS(shutdown), socket) && allow_if(SCMP_SYS(sendto), counter) &&
           allow_if(SCMP_SYS(recvfrom), counter);
  }

  bool keep_state() {
    for (const int fd : {kStateFd, kCounterFd}) {
      const scmp_arg_cmp file{0, SCMP_CMP_EQ, static_cast<scmp_datum_t>(fd), 0};
      for (const int call : {SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(fdatasync),
                             SCMP_SYS(lseek), SCMP_SYS(fallocate), SCMP_SYS(flock)}) {
        if (!allow_if(call, file)) return false;
      }
      // fstat(2) is newfstatat with an empty path.
      const scmp_arg_cmp by_descriptor{3, SCMP_CMP_EQ, AT_EMPTY_PATH, 0};
      if (seccomp_rule_add(context_, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 2, file,
                           by_descriptor) != 0 ||
          !allow_if(SCMP_SYS(fstat), file)) {
        return false;
      }
    }
    return true;
  }

  bool allow_if(int call, scmp_arg_cmp condition) {
    return seccomp_rule_add(context_, SCMP_ACT_ALLOW, call, 1, condition) == 0;
  }
  bool allow_all(std::initializer_list<int> calls) {
    for (const int call : calls) {
      if (seccomp_rule_add(context_, SCMP_ACT_ALLOW, call, 0) != 0) return false;
    }
    return true;
  }

  scmp_filter_ctx context_;
};

}  // namespace

Result<void> harden(int parent_pid) {
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) {
    return os_error("cannot protect the process");
  }
  if (::getppid() != parent_pid) return Error{Errc::kClosed, 0, "the monitor has gone"};
  return {};
}

Result<void> confine() {
  const Error refused{Errc::kPermission, 0, "cannot confine the process"};
  TRY(set_limits());
  const std::unique_ptr<void, Release> filter(seccomp_init(SCMP_ACT_KILL_PROCESS));
  if (filter == nullptr || seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1) != 0 ||
      !Filter(filter.get()).build() || seccomp_load(filter.get()) != 0) {
    return refused;
  }
  return {};
}

}  // namespace bulkhead::vtpm
