// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace bulkhead::host {

// What /dev/kvm answers. `error` says why it cannot be used, with what to do.
struct KvmProbe {
  bool opens = false;
  std::string error;
  int max_vcpus = 0;
  int max_slots = 0;
  bool guest_memfd = false;
  bool guest_memfd_mappable = false;  // for ordinary VMs; Linux 6.18
  bool read_only_slots = false;
  bool exit_on_emulation_failure = false;
  bool prefault = false;
  bool tsc_deadline = false;
};

// What userfaultfd gives this user. `error` says why cold memory cannot be had, with what to do.
struct UserFaultProbe {
  bool works = false;
  std::string error;
  bool protects = false;  // tells reads from writes; Linux 6.4
};

// What bulkheadd answers. `error` says why it does not, with what to do.
struct DaemonProbe {
  bool answers = false;
  std::string error;
  std::size_t pools = 0;
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;
  std::uint64_t carved_free_bytes = 0;  // to this user
};

// What only a system call can tell; everything else of the survey is read from files.
struct Probes {
  KvmProbe kvm;
  bool sealed_memfd = false;
  std::optional<std::uint64_t> memlock_limit_bytes;  // absent: unlimited
  bool io_uring = false;
  bool memfd_secret = false;
  UserFaultProbe userfault;
  DaemonProbe daemon;
  int landlock_abi = 0;  // 0: none
  bool seccomp = false;
};

// `daemon_socket`: where bulkheadd listens.
Probes probe_host(const std::string& daemon_socket);

}  // namespace bulkhead::host
