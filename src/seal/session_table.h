// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "seal/page_sealer.h"

namespace bulkhead {

inline constexpr std::size_t kMaxSessions = 256;

struct SessionRecord {
  SessionSalt salt;
  std::uint64_t live = 0;  // blocks that need the session's key; 0: the record is unused
};
using SessionRecords = std::array<SessionRecord, kMaxSessions>;

// The sessions whose keys some block of a store needs, and the one that seals now. Beginning,
// dropping and wiping sessions needs the store to itself; the rest is thread-safe.
class SessionTable {
 public:
  struct Options {
    SecretBytes partition_key;
    SealScope scope;
    std::uint64_t max_uses;
  };
  explicit SessionTable(Options options) : options_(std::move(options)) {}

  // Takes over a store's table; each session's blocks are then counted anew by add().
  Result<void> load(const SessionRecords& records);
  // A fresh salt, and from now on its key seals. kExhausted if all records are in use.
  Result<void> begin();
  // Forgets the keys that no block needs, but for the current one.
  void drop_unused();
  void wipe();

  bool has_current() const { return current_ < kMaxSessions; }
  std::size_t current() const { return current_; }
  // The session's key; null if there is no such session.
  PageSealer* sealer(std::size_t session) {
    return session < kMaxSessions ? sessions_[session].sealer.get() : nullptr;
  }
  // Whether the current key may seal nothing more.
  bool spent() const { return sessions_[current_].sealer->uses() >= options_.max_uses; }

  void add(std::size_t session) { count(session).fetch_add(1, std::memory_order_relaxed); }
  void remove(std::size_t session) { count(session).fetch_sub(1, std::memory_order_relaxed); }
  std::uint64_t live(std::size_t session) const {
    return sessions_[session].live.load(std::memory_order_relaxed);
  }

  SessionRecords records() const;
  bool full() const;
  // Of all but the current one, that with the fewest blocks.
  std::size_t smallest() const;
  std::size_t in_use() const;

 private:
  struct Session {
    SessionSalt salt;
    std::unique_ptr<PageSealer> sealer;
    std::atomic<std::uint64_t> live = 0;
  };

  std::atomic<std::uint64_t>& count(std::size_t session) {
    CHECK(session < kMaxSessions);
    return sessions_[session].live;
  }
  Result<void> install(std::size_t session, const SessionSalt& salt);

  Options options_;
  std::array<Session, kMaxSessions> sessions_;
  std::size_t current_ = kMaxSessions;
};

}  // namespace bulkhead
