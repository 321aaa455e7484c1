// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/stat.h>

#include <string>

#include "daemon/process_identity.h"

namespace bulkhead::daemon {

// Who may have certificates for his TPM's keys: a monitor of ours that nobody else can have written
// to (docs/threat-model.md).
class MonitorCheck {
 public:
  // Which users' monitors count. A user can do to his own processes what he likes before they
  // defend themselves, so certificates for kAnybody hold only if all who may connect are honest.
  enum class Users : std::uint8_t { kRoot, kAnybody };

  // Each of the checks can be off, for tests: they show that the others let an attack pass.
  struct Switches {
    bool user = true;
    bool sender = true;
    bool program = true;
    bool dumpable = true;
    bool traced = true;
  };

  // `program` is bulkhead-vmm, which only its owner, root or ourselves, may be able to write.
  static Result<MonitorCheck> create(const std::string& program, Users users);

  // Whether the process that connected is one, and sent the message itself, as the kernel says:
  // kPermission if not.
  Result<void> judge(const Peer& peer, pid_t sender) const { return judge(peer, sender, {}); }
  Result<void> judge(const Peer& peer, pid_t sender, const Switches& switches) const;

 private:
  MonitorCheck(dev_t device, ino_t inode, Users users)
      : device_(device), inode_(inode), users_(users) {}

  Result<void> check_program(int process_directory) const;

  dev_t device_;
  ino_t inode_;
  Users users_;
};

}  // namespace bulkhead::daemon
