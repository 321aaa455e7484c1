// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/thread_annotations.h"
#include "broker/requester_key.h"

namespace bulkhead::broker {

using TimePoint = std::chrono::steady_clock::time_point;

struct SessionLimits {
  std::size_t sessions = 1024;
  std::size_t evidence_bytes = 64 * 1024 * 1024;
  std::chrono::seconds challenge_life{120};  // until the evidence must have come
  std::chrono::seconds session_life{300};    // from the challenge on, once attested
};

// What somebody has shown: it is judged again for each secret.
struct Proof {
  Bytes nonce;
  TimePoint challenged;
  RequesterKey key;
  std::string evidence;
};

// One tenant's sessions, in memory only: a broker that starts again knows none. Thread-safe.
class SessionTable {
 public:
  struct Challenged {
    std::string id;
    Bytes nonce;
  };
  struct Attempt {
    Bytes nonce;
    TimePoint challenged;
  };

  explicit SessionTable(SessionLimits limits) : limits_(limits) {}

  // A new session with a new nonce; kExhausted if there are too many.
  Result<Challenged> open(TimePoint now);
  // The nonce, once: whatever the evidence is worth, there is no second attempt. kNotFound if there
  // is no such session, or no longer.
  Result<Attempt> attempt(const std::string& id, TimePoint now);
  // The attempt succeeded. kExhausted if so much evidence cannot be kept.
  Result<void> keep(const std::string& id, Proof proof, TimePoint now);
  // The attempt failed: the session is of no more use.
  void drop(const std::string& id);
  // Shared with the table: a session may end while its last request is being answered.
  std::shared_ptr<const Proof> proof(const std::string& id, TimePoint now);

  std::size_t size();

 private:
  struct Session {
    Bytes nonce;
    TimePoint challenged;
    bool attempted = false;
    std::shared_ptr<const Proof> proof;
  };
  using Sessions = std::map<std::string, Session>;

  Sessions::iterator find_live(const std::string& id, TimePoint now) REQUIRES(mutex_);
  bool is_over(const Session& session, TimePoint now) const;
  void sweep(TimePoint now) REQUIRES(mutex_);
  void end(Sessions::iterator session) REQUIRES(mutex_);

  const SessionLimits limits_;
  Mutex mutex_;
  Sessions sessions_ GUARDED_BY(mutex_);
  std::size_t evidence_bytes_ GUARDED_BY(mutex_) = 0;
};

}  // namespace bulkhead::broker
