// SPDX-License-Identifier: Apache-2.0
#include "broker/session_table.h"

#include <array>

#include "broker/messages.h"
#include "broker/route.h"
#include "crypto/random.h"

namespace bulkhead::broker {
namespace {

Error no_session() {
  return Error{Errc::kNotFound, 0,
               "no such session: it ended, was used, or the broker was restarted; begin with auth"};
}

}  // namespace

bool SessionTable::is_over(const Session& session, TimePoint now) const {
  const auto life = session.proof ? limits_.session_life : limits_.challenge_life;
  return now - session.challenged >= life;
}

void SessionTable::end(Sessions::iterator session) {
  if (session->second.proof) evidence_bytes_ -= session->second.proof->evidence.size();
  sessions_.erase(session);
}

void SessionTable::sweep(TimePoint now) {
  for (auto each = sessions_.begin(); each != sessions_.end();) {
    const auto current = each++;
    if (is_over(current->second, now)) end(current);
  }
}

SessionTable::Sessions::iterator SessionTable::find_live(const std::string& id, TimePoint now) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end() || !is_over(found->second, now)) return found;
  end(found);
  return sessions_.end();
}

Result<SessionTable::Challenged> SessionTable::open(TimePoint now) {
  std::array<std::byte, kSessionIdBytes> id;
  Bytes nonce(kNonceBytes);
  TRY(random_bytes(id));
  TRY(random_bytes(nonce));
  const MutexLock lock(mutex_);
  if (sessions_.size() >= limits_.sessions) sweep(now);
  if (sessions_.size() >= limits_.sessions) {
    return Error{Errc::kExhausted, 0, "too many sessions at once; try again in a minute"};
  }
  const std::string name = to_hex(id);
  sessions_[name] = {.nonce = nonce, .challenged = now, .attempted = false, .proof = nullptr};
  return Challenged{.id = name, .nonce = std::move(nonce)};
}

Result<SessionTable::Attempt> SessionTable::attempt(const std::string& id, TimePoint now) {
  const MutexLock lock(mutex_);
  const auto found = find_live(id, now);
  if (found == sessions_.end() || found->second.attempted) return no_session();
  found->second.attempted = true;
  return Attempt{.nonce = found->second.nonce, .challenged = found->second.challenged};
}

Result<void> SessionTable::keep(const std::string& id, Proof proof, TimePoint now) {
  auto kept = std::make_shared<const Proof>(std::move(proof));
  const MutexLock lock(mutex_);
  if (kept->evidence.size() > limits_.evidence_bytes - evidence_bytes_) sweep(now);
  if (kept->evidence.size() > limits_.evidence_bytes - evidence_bytes_) {
    return Error{Errc::kExhausted, 0, "too much evidence at once; try again in a minute"};
  }
  const auto found = find_live(id, now);
  if (found == sessions_.end() || found->second.proof) return no_session();
  evidence_bytes_ += kept->evidence.size();
  found->second.proof = std::move(kept);
  return {};
}

void SessionTable::drop(const std::string& id) {
  const MutexLock lock(mutex_);
  if (const auto found = sessions_.find(id); found != sessions_.end()) end(found);
}

std::shared_ptr<const Proof> SessionTable::proof(const std::string& id, TimePoint now) {
  const MutexLock lock(mutex_);
  const auto found = find_live(id, now);
  return found == sessions_.end() ? nullptr : found->second.proof;
}

std::size_t SessionTable::size() {
  const MutexLock lock(mutex_);
  return sessions_.size();
}

}  // namespace bulkhead::broker
