// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <memory>

#include "crypto/secret_bytes.h"
#include "vtpm/client.h"

namespace bulkhead::vtpm {

// Where a TPM's state lasts: two open files, who counts its versions, and the partition's key. The
// process gets one that is derived from that, and good for nothing else.
struct StateFiles {
  int state_fd = -1;
  int counter_fd = -1;
  const SecretBytes& partition_key;
  int host_counter_fd = -1;  // a socket to whoever asks the host's TPM; -1: nobody does
};

// The key of a partition's TPM: HKDF-SHA-256(partition key, no salt, "bulkhead/vtpm/v1").
Result<SecretBytes> derive_state_key(const SecretBytes& partition_key);

// A running `bulkhead-vtpm`, which ends with this object, or with the thread that started it.
class ProcessHandle {
 public:
  struct Request {
    int program_fd = -1;                // of bulkhead-vtpm
    const StateFiles* state = nullptr;  // none: the TPM ends with its process
    Patience patience{};
  };

  static Result<std::unique_ptr<ProcessHandle>> start(const Request& request);
  ~ProcessHandle();

  Client& client() { return client_; }
  pid_t pid() const { return pid_; }

 private:
  ProcessHandle(pid_t pid, Fd socket, const Patience& patience)
      : pid_(pid), client_(std::move(socket), patience) {}
  bool ended_within(int milliseconds) const;

  const pid_t pid_;
  Client client_;
};

}  // namespace bulkhead::vtpm
