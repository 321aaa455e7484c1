// SPDX-License-Identifier: Apache-2.0
#include "boot/unpack/confine.h"

#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <memory>
#include <type_traits>

#include "base/address.h"
#include "boot/unpack/helper_protocol.h"

namespace bulkhead::boot {
namespace {

constexpr std::uint64_t kAddressSpaceBytes = 384 * kMiB;  // zstd's window alone may be 128 MiB
constexpr std::uint64_t kCpuSeconds = 120;                // slow software CPUs need 10

struct Limit {
  __rlimit_resource resource;
  std::uint64_t value;
};

struct Release {
  void operator()(void* filter) const { seccomp_release(filter); }
};

Result<void> set_limits(std::uint64_t output_limit_bytes) {
  const Limit limits[] = {
      {RLIMIT_AS, kAddressSpaceBytes},    {RLIMIT_CPU, kCpuSeconds}, {RLIMIT_CORE, 0},
      {RLIMIT_FSIZE, output_limit_bytes}, {RLIMIT_NOFILE, 0},
  };
  for (const Limit& limit : limits) {
    const rlimit both{limit.value, limit.value};
    if (::setrlimit(limit.resource, &both) != 0) return os_error("cannot set a resource limit");
  }
  return {};
}

// The complete list of what decompressing takes. Everything else kills the process.
bool add_rules(scmp_filter_ctx filter) {
  const auto allow = [&](int call) {
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0) == 0;
  };
  const auto allow_if = [&](int call, scmp_arg_cmp condition) {
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1, condition) == 0;
  };
  const scmp_arg_cmp from_input{0, SCMP_CMP_EQ, kUnpackInputFd, 0};
  const scmp_arg_cmp to_output{0, SCMP_CMP_EQ, kUnpackOutputFd, 0};
  const scmp_arg_cmp not_executable{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0};
  return allow_if(SCMP_SYS(pread64), from_input) && allow_if(SCMP_SYS(write), to_output) &&
         allow_if(SCMP_SYS(mmap), not_executable) && allow(SCMP_SYS(munmap)) &&
         allow(SCMP_SYS(mremap)) && allow(SCMP_SYS(brk)) && allow(SCMP_SYS(madvise)) &&
         allow(SCMP_SYS(exit_group));
}

}  // namespace

Result<void> confine(std::uint64_t output_limit_bytes) {
  const Error refused{Errc::kPermission, 0, "cannot confine the process"};
  TRY(set_limits(output_limit_bytes));
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return refused;
  }
  const std::unique_ptr<void, Release> filter(seccomp_init(SCMP_ACT_KILL_PROCESS));
  if (filter == nullptr || !add_rules(filter.get()) || seccomp_load(filter.get()) != 0) {
    return refused;
  }
  return {};
}

}  // namespace bulkhead::boot
