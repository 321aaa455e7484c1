// SPDX-License-Identifier: Apache-2.0
// bulkhead-vmm: runs one partition. Started by `bulkhead`, which made every choice and opened every
// file; takes nothing but the descriptor of a launch specification.
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/log.h"
#include "crypto/openssl_memory.h"
#include "vmm/launch_spec.h"
#include "vmm/monitor.h"

namespace bulkhead {
namespace {

constexpr int kUsage = 2;
constexpr rlim_t kFiles = 4096;

int fail(const char* what, const char* why) {
  std::fprintf(stderr, "bulkhead-vmm: %s: %s\n", what, why);
  return static_cast<int>(Outcome::kFailed);
}

int fail(const char* what, const Error& error) {
  std::fprintf(stderr, "bulkhead-vmm: %s: %s%s%s\n", what, error.what,
               error.os_errno != 0 ? ": " : "",
               error.os_errno != 0 ? std::strerror(error.os_errno) : "");
  return static_cast<int>(Outcome::kFailed);
}

// No core file and no ptrace by the same user: both would show guest memory. A write to a socket
// whose reader has gone is an error to handle, not a reason to die. The usual limit of 1,024
// descriptors is what the guest's connections alone can take.
Result<void> harden_process() {
  const rlimit none{0, 0};
  if (::prctl(PR_SET_DUMPABLE, 0) != 0 || ::setrlimit(RLIMIT_CORE, &none) != 0) {
    return os_error("cannot forbid core files");
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return os_error("cannot give up privileges");
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < kFiles) {
    files.rlim_cur = std::min<rlim_t>(files.rlim_max, kFiles);
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  ::signal(SIGPIPE, SIG_IGN);
  return {};
}

// What root keeps of its privileges: to lock memory, and to make sockets where the user asked for
// them. Everything else, /dev/mem and other processes included, is out of reach from here on; so
// this comes before the guest's first instruction.
Result<void> drop_capabilities() {
  constexpr std::uint32_t kKept = (1U << CAP_IPC_LOCK) | (1U << CAP_DAC_OVERRIDE);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
  if (::syscall(SYS_capget, &header, sets.data()) != 0) return os_error("cannot read capabilities");
  sets[0] = {sets[0].effective & kKept, sets[0].permitted & kKept, 0};
  sets[1] = {};
  if (::syscall(SYS_capset, &header, sets.data()) != 0) return os_error("cannot drop capabilities");
  return {};
}

std::optional<LaunchSpec> read_spec(int fd) {
  Result<std::string> text = read_spec_fd(fd);
  if (!text) {
    fail("launch specification", text.error());
    return std::nullopt;
  }
  SpecError error;
  std::optional<LaunchSpec> spec = parse_launch_spec(*text, error);
  if (!spec || !check_descriptors(*spec, error)) {
    fail("launch specification", error.message.c_str());
    return std::nullopt;
  }
  return spec;
}

int run(int spec_fd) {
  if (Result<void> secret = keep_openssl_memory_secret(); !secret) {
    return fail("start", secret.error());
  }
  Result<void> hardened = harden_process();
  if (hardened) hardened = drop_capabilities();
  if (!hardened) return fail("start", hardened.error());
  const std::optional<LaunchSpec> spec = read_spec(spec_fd);
  if (!spec) return kUsage;
  set_log_level(spec->log_level);
  Result<Outcome> outcome = Outcome::kFailed;
  {
    Result<std::unique_ptr<Monitor>> monitor = Monitor::create(*spec);
    outcome = monitor ? (*monitor)->run() : Result<Outcome>(monitor.error());
  }
  remove_runtime_files(*spec);
  if (!outcome) return fail(spec->name.c_str(), outcome.error());
  return static_cast<int>(*outcome);
}

}  // namespace
}  // namespace bulkhead

int main(int argc, char** argv) {
  if (argc != 3 || std::strcmp(argv[1], "--spec-fd") != 0) {
    std::fprintf(stderr, "bulkhead-vmm: started by `bulkhead run`; see `bulkhead run --help`\n");
    return bulkhead::kUsage;
  }
  char* end = nullptr;
  const long fd = std::strtol(argv[2], &end, 10);
  if (*argv[2] == '\0' || *end != '\0' || fd < 3 || fd > 65535) {
    std::fprintf(stderr, "bulkhead-vmm: not a descriptor number: %s\n", argv[2]);
    return bulkhead::kUsage;
  }
  return bulkhead::run(static_cast<int>(fd));
}
