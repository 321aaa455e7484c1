// SPDX-License-Identifier: Apache-2.0
#include "seal/session_table.h"

#include <algorithm>

namespace bulkhead {

Result<void> SessionTable::install(std::size_t session, const SessionSalt& salt) {
  sessions_[session].sealer = TRY(PageSealer::create({.partition_key = options_.partition_key,
                                                      .scope = options_.scope,
                                                      .salt = salt,
                                                      .max_uses = options_.max_uses}));
  sessions_[session].salt = salt;
  return {};
}

Result<void> SessionTable::load(const SessionRecords& records) {
  for (std::size_t i = 0; i < kMaxSessions; ++i) {
    if (records[i].live != 0) TRY(install(i, records[i].salt));
  }
  return {};
}

Result<void> SessionTable::begin() {
  const auto unused =
      std::ranges::find_if(sessions_, [](const Session& s) { return s.sealer == nullptr; });
  if (unused == sessions_.end()) {
    return Error{Errc::kExhausted, 0, "the store's table of sessions is full"};
  }
  const auto session = static_cast<std::size_t>(unused - sessions_.begin());
  TRY(install(session, TRY(SessionSalt::random())));
  current_ = session;
  return {};
}

void SessionTable::drop_unused() {
  for (std::size_t i = 0; i < kMaxSessions; ++i) {
    if (i == current_ || live(i) != 0) continue;
    sessions_[i].sealer.reset();
    sessions_[i].salt = SessionSalt();
  }
}

void SessionTable::wipe() {
  current_ = kMaxSessions;
  for (Session& session : sessions_) {
    session.sealer.reset();
    session.salt = SessionSalt();
    session.live = 0;
  }
  options_.partition_key.reset();
}

SessionRecords SessionTable::records() const {
  SessionRecords records;
  for (std::size_t i = 0; i < kMaxSessions; ++i) {
    if (live(i) != 0) records[i] = {.salt = sessions_[i].salt, .live = live(i)};
  }
  return records;
}

bool SessionTable::full() const {
  return in_use() == kMaxSessions;
}

std::size_t SessionTable::smallest() const {
  std::size_t best = kMaxSessions;
  for (std::size_t i = 0; i < kMaxSessions; ++i) {
    if (i == current_ || sessions_[i].sealer == nullptr) continue;
    if (best == kMaxSessions || live(i) < live(best)) best = i;
  }
  return best;
}

std::size_t SessionTable::in_use() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(sessions_, [](const Session& s) { return s.sealer != nullptr; }));
}

}  // namespace bulkhead
