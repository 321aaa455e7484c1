// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/thread_annotations.h"
#include "crypto/digest.h"

namespace bulkhead::broker {

// One decision. Texts are ours or checked names: nothing of a requester's own words.
struct AuditEntry {
  std::string event;    // "challenge", "attest", "release", "resource-add", "resource-remove"
  std::string outcome;  // "granted", "refused", "failed"
  std::string tenant = {};
  std::string peer = {};
  std::string session = {};  // the start of SHA-256 of its identifier
  std::string secret = {};
  std::string reason = {};
};

// The newest entry.
struct AuditHead {
  std::uint64_t sequence = 0;  // 0: there is none
  Sha256Digest hash{};
};

// Lines of "HASH JSON", HASH being SHA-256 of the hash before (64 digits, zeroes at first) and the
// JSON text: whoever changes, drops or inserts a line changes every hash after it. Thread-safe, and
// several processes may append.
class AuditLog {
 public:
  static Result<AuditLog> open(const std::string& path);

  // On disk when it returns, if `durable`; else soon.
  Result<void> append(const AuditEntry& entry, bool durable);
  AuditHead head();

 private:
  struct State {
    Mutex mutex;
    AuditHead head GUARDED_BY(mutex);
    std::uint64_t size_bytes GUARDED_BY(mutex) = 0;  // up to the end of the newest entry
    Mutex sync_mutex;
    std::uint64_t synced GUARDED_BY(sync_mutex) = 0;  // a sequence number
  };

  explicit AuditLog(Fd file) : file_(std::move(file)), state_(std::make_unique<State>()) {}
  Result<std::uint64_t> append_line(const AuditEntry& entry);
  Result<void> catch_up() REQUIRES(state_->mutex);
  Result<void> sync(std::uint64_t sequence);

  Fd file_;
  std::unique_ptr<State> state_;
};

// Where a log is not what it was.
struct AuditFault {
  std::uint64_t line = 0;  // from 1
  std::string what;
};

// Follows the chain from the first line. `expected`: an entry that was seen earlier and must still
// be there. The head, or none and what is wrong.
std::optional<AuditHead> verify_audit(const std::string& path,
                                      const std::optional<AuditHead>& expected, AuditFault& fault);

}  // namespace bulkhead::broker
