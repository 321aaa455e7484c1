// SPDX-License-Identifier: Apache-2.0
#include "broker/audit_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>

#include "base/result.h"
#include "broker/bytes.h"
#include "broker/strict_json.h"

namespace bulkhead::broker {
namespace {

constexpr std::size_t kMaxLineBytes = 8192;
constexpr std::size_t kHashDigits = 2 * sizeof(Sha256Digest);

// Held while the end of the file is looked at and written.
class FileLock {
 public:
  explicit FileLock(int fd) : fd_(fd), held_(::flock(fd, LOCK_EX) == 0) {}
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock() {
    if (held_) ::flock(fd_, LOCK_UN);
  }
  bool held() const { return held_; }

 private:
  int fd_;
  bool held_;
};

Result<Sha256Digest> chain(const Sha256Digest& before, std::string_view json) {
  Sha256 hash = TRY(Sha256::create());
  TRY(hash.update(bytes_of(to_hex(before))));
  TRY(hash.update(bytes_of(json)));
  return std::move(hash).finish();
}

Error broken() {
  return Error{Errc::kMalformed, 0, "the audit log's end is no entry: bulkhead-broker audit"};
}

// What a line says of itself; whether that is true is the chain's to say.
Result<AuditHead> parse_line(std::string_view line) {
  if (line.size() <= kHashDigits + 1 || line[kHashDigits] != ' ') return broken();
  const std::vector<std::byte> hash = TRY(decode_hex(line.substr(0, kHashDigits)));
  const Json json = TRY(parse_json(line.substr(kHashDigits + 1), kMaxLineBytes));
  const Json* sequence = member(json, "seq");
  if (sequence == nullptr || !sequence->is_number_unsigned()) return broken();
  AuditHead head{.sequence = sequence->get<std::uint64_t>(), .hash = {}};
  std::ranges::copy(hash, head.hash.begin());
  return head;
}

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string to_json_text(const AuditEntry& entry, std::uint64_t sequence) {
  Json json = {
      {"seq", sequence}, {"time_ms", now_ms()}, {"event", entry.event}, {"outcome", entry.outcome}};
  const auto add = [&json](const char* name, const std::string& text) {
    if (!text.empty()) json[name] = text;
  };
  add("tenant", entry.tenant);
  add("peer", entry.peer);
  add("session", entry.session);
  add("secret", entry.secret);
  add("reason", entry.reason.substr(0, kMaxLineBytes / 4));
  return json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

Result<std::uint64_t> size_of(int fd) {
  struct stat status;
  if (::fstat(fd, &status) != 0) return os_error("cannot examine the audit log");
  return static_cast<std::uint64_t>(status.st_size);
}

// The file's last bytes, enough for two lines.
Result<std::string> tail_of(int fd, std::uint64_t size) {
  const std::uint64_t length = std::min<std::uint64_t>(size, 2 * kMaxLineBytes);
  std::string tail(length, '\0');
  const ssize_t got = ::pread(fd, tail.data(), length, static_cast<off_t>(size - length));
  if (got < 0 || static_cast<std::uint64_t>(got) != length) {
    return os_error("cannot read the audit log");
  }
  return tail;
}

Result<void> write_all(int fd, std::string_view text) {
  const ssize_t written = ::write(fd, text.data(), text.size());
  if (written < 0) return os_error("cannot write to the audit log");
  if (static_cast<std::size_t>(written) != text.size()) {
    return Error{Errc::kExhausted, 0, "the audit log's file system is full"};
  }
  return {};
}

}  // namespace

Result<AuditLog> AuditLog::open(const std::string& path) {
  Fd file = TRY(Fd::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT, 0600));
  AuditLog log(std::move(file));
  {
    const MutexLock lock(log.state_->mutex);
    const FileLock file_lock(log.file_.get());
    TRY(log.catch_up());
  }
  return log;
}

// Another process may have appended, or have died while it did: what has no line's end was never
// acknowledged to anybody, and is cut off.
Result<void> AuditLog::catch_up() {
  std::uint64_t size = TRY(size_of(file_.get()));
  if (size == state_->size_bytes) return {};
  if (size < state_->size_bytes) return broken();
  std::string tail = TRY(tail_of(file_.get(), size));
  const std::size_t end = tail.rfind('\n') + 1;  // 0 if there is none
  if (end == 0 && size > tail.size()) return broken();
  if (end != tail.size()) {
    size -= tail.size() - end;
    if (::ftruncate(file_.get(), static_cast<off_t>(size)) != 0) {
      return os_error("cannot cut off an entry that was not finished");
    }
    tail.resize(end);
  }
  if (!tail.empty()) {
    tail.pop_back();
    const std::size_t start = tail.rfind('\n') + 1;
    state_->head = TRY(parse_line(std::string_view(tail).substr(start)));
  }
  state_->size_bytes = size;
  return {};
}

Result<std::uint64_t> AuditLog::append_line(const AuditEntry& entry) {
  const MutexLock lock(state_->mutex);
  const FileLock file_lock(file_.get());
  if (!file_lock.held()) return os_error("cannot lock the audit log");
  TRY(catch_up());
  AuditHead next{.sequence = state_->head.sequence + 1, .hash = {}};
  const std::string json = to_json_text(entry, next.sequence);
  next.hash = TRY(chain(state_->head.hash, json));
  const std::string line = to_hex(next.hash) + " " + json + "\n";
  TRY(write_all(file_.get(), line));
  state_->head = next;
  state_->size_bytes += line.size();
  return next.sequence;
}

// Who waits for another's sync is served by the one after it: many entries, few syncs.
Result<void> AuditLog::sync(std::uint64_t sequence) {
  const MutexLock lock(state_->sync_mutex);
  if (state_->synced >= sequence) return {};
  const std::uint64_t newest = head().sequence;
  if (::fdatasync(file_.get()) != 0) return os_error("cannot sync the audit log");
  state_->synced = newest;
  return {};
}

Result<void> AuditLog::append(const AuditEntry& entry, bool durable) {
  const std::uint64_t sequence = TRY(append_line(entry));
  if (!durable) return {};
  return sync(sequence);
}

AuditHead AuditLog::head() {
  const MutexLock lock(state_->mutex);
  return state_->head;
}

namespace {

// Whether this line follows the head, which it becomes then.
bool follow(AuditHead& head, std::string_view line, std::string& what) {
  const Result<AuditHead> said = parse_line(line);
  if (!said) {
    what = "this is no entry";
    return false;
  }
  if (said->sequence != head.sequence + 1) {
    what = "entry " + std::to_string(said->sequence) + " follows entry " +
           std::to_string(head.sequence) + ": something was dropped or inserted";
    return false;
  }
  const Result<Sha256Digest> hash = chain(head.hash, line.substr(kHashDigits + 1));
  if (!hash || *hash != said->hash) {
    what = "the hash is not that of this entry and the one before: something was changed";
    return false;
  }
  head = *said;
  return true;
}

}  // namespace

std::optional<AuditHead> verify_audit(const std::string& path,
                                      const std::optional<AuditHead>& expected, AuditFault& fault) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    fault = {0, "cannot be read"};
    return std::nullopt;
  }
  AuditHead head;
  bool met = !expected || expected->sequence == 0;
  for (std::string line; std::getline(file, line);) {
    ++fault.line;
    if (file.eof()) {
      fault.what = "the last line is not finished";
      return std::nullopt;
    }
    if (!follow(head, line, fault.what)) return std::nullopt;
    if (expected && head.sequence == expected->sequence) met = head.hash == expected->hash;
  }
  if (met) return head;
  fault.what = "the entry that was expected is not there: the log was cut or written anew";
  return std::nullopt;
}

}  // namespace bulkhead::broker
