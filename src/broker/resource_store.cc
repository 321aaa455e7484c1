// SPDX-License-Identifier: Apache-2.0
#include "broker/resource_store.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include <ctime>

#include "broker/sqlite_statement.h"

namespace bulkhead::broker {
namespace {

constexpr int kBusyMs = 2000;
constexpr std::int64_t kSchema = 1;

// The file has the format's number where SQLite keeps a user's version.
constexpr const char* kMakeTables =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE IF NOT EXISTS resource("
    " tenant TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL UNIQUE,"
    " wrapped_key BLOB NOT NULL, nonce BLOB NOT NULL, ciphertext BLOB NOT NULL,"
    " added_s INTEGER NOT NULL, PRIMARY KEY(tenant, name)) STRICT;"
    "CREATE TABLE IF NOT EXISTS version("
    " id INTEGER PRIMARY KEY CHECK(id = 1), newest INTEGER NOT NULL) STRICT;"
    "INSERT OR IGNORE INTO version VALUES(1, 0);"
    "PRAGMA user_version = 1;"
    "COMMIT;";

Result<void> run(sqlite3* database, const char* sql) {
  const int code = sqlite3_exec(database, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return sqlite_error(code);
  return {};
}

Result<void> prepare_database(sqlite3* database, bool create) {
  sqlite3_busy_timeout(database, kBusyMs);
  // No schema of somebody else's making gets code run.
  sqlite3_db_config(database, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(database, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  if (create) {
    TRY(run(database, "PRAGMA journal_mode = WAL"));
    TRY(run(database, kMakeTables));
  }
  SqliteStatement version = TRY(SqliteStatement::prepare(database, "PRAGMA user_version"));
  if (!TRY(version.step()) || version.number(0) != kSchema) {
    return Error{Errc::kMalformed, 0, "the resource store is of another version, or is none"};
  }
  return run(database, "PRAGMA synchronous = FULL");
}

Result<void> bind_name(SqliteStatement& statement, const ResourceName& name) {
  TRY(statement.bind(1, std::string_view(name.tenant)));
  return statement.bind(2, std::string_view(name.name));
}

Result<void> check_room(sqlite3* database, const ResourceName& name) {
  SqliteStatement count = TRY(SqliteStatement::prepare(
      database, "SELECT count(*) FROM resource WHERE tenant = ?1 AND name <> ?2"));
  TRY(bind_name(count, name));
  if (TRY(count.step()) && count.number(0) < static_cast<std::int64_t>(kMaxResources)) return {};
  return Error{Errc::kExhausted, 0, "the tenant has 4096 resources: remove one first"};
}

}  // namespace

void ResourceStore::Close::operator()(sqlite3* database) const {
  sqlite3_close(database);
}

Result<ResourceStore> ResourceStore::open(const std::string& path, bool create) {
  auto state = std::make_unique<State>();
  {
    const MutexLock lock(state->mutex);
    const mode_t before = ::umask(0077);
    sqlite3* database = nullptr;
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_NOFOLLOW |
                      (create ? SQLITE_OPEN_CREATE : 0);
    const int code = sqlite3_open_v2(path.c_str(), &database, flags, nullptr);
    ::umask(before);
    state->database.reset(database);
    if (code != SQLITE_OK) return sqlite_error(code);
    TRY(prepare_database(database, create));
  }
  return ResourceStore(std::move(state));
}

Result<std::uint64_t> ResourceStore::next_version() {
  const MutexLock lock(state_->mutex);
  SqliteStatement next = TRY(SqliteStatement::prepare(
      state_->database.get(), "UPDATE version SET newest = newest + 1 RETURNING newest"));
  if (!TRY(next.step())) return Error{Errc::kMalformed, 0, "the resource store is damaged"};
  const auto version = static_cast<std::uint64_t>(next.number(0));
  TRY(next.step());
  return version;
}

Result<void> ResourceStore::put(const ResourceName& name, const SealedResource& resource) {
  const MutexLock lock(state_->mutex);
  TRY(check_room(state_->database.get(), name));
  SqliteStatement put = TRY(SqliteStatement::prepare(
      state_->database.get(),
      "INSERT OR REPLACE INTO resource VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)"));
  TRY(bind_name(put, name));
  TRY(put.bind(3, static_cast<std::int64_t>(resource.version)));
  TRY(put.bind(4, std::span<const std::byte>(resource.wrapped_key)));
  TRY(put.bind(5, std::span<const std::byte>(resource.nonce)));
  TRY(put.bind(6, std::span<const std::byte>(resource.ciphertext)));
  TRY(put.bind(7, static_cast<std::int64_t>(std::time(nullptr))));
  TRY(put.step());
  return {};
}

Result<std::optional<SealedResource>> ResourceStore::get(const ResourceName& name) {
  const MutexLock lock(state_->mutex);
  SqliteStatement get =
      TRY(SqliteStatement::prepare(state_->database.get(),
                                   "SELECT version, wrapped_key, nonce, ciphertext FROM resource "
                                   "WHERE tenant = ?1 AND name = ?2"));
  TRY(bind_name(get, name));
  if (!TRY(get.step())) return std::optional<SealedResource>();
  return std::optional(SealedResource{.version = static_cast<std::uint64_t>(get.number(0)),
                                      .wrapped_key = get.blob(1),
                                      .nonce = get.blob(2),
                                      .ciphertext = get.blob(3)});
}

Result<void> ResourceStore::remove(const ResourceName& name) {
  const MutexLock lock(state_->mutex);
  SqliteStatement remove = TRY(SqliteStatement::prepare(
      state_->database.get(), "DELETE FROM resource WHERE tenant = ?1 AND name = ?2"));
  TRY(bind_name(remove, name));
  TRY(remove.step());
  if (sqlite3_changes(state_->database.get()) == 1) return {};
  return Error{Errc::kNotFound, 0, "the tenant has no such resource"};
}

Result<std::vector<ResourceInfo>> ResourceStore::list(const std::string& tenant) {
  const MutexLock lock(state_->mutex);
  SqliteStatement list = TRY(SqliteStatement::prepare(
      state_->database.get(),
      "SELECT name, version, added_s FROM resource WHERE tenant = ?1 ORDER BY name"));
  TRY(list.bind(1, std::string_view(tenant)));
  std::vector<ResourceInfo> all;
  while (TRY(list.step())) {
    all.push_back({.name = list.text(0),
                   .version = static_cast<std::uint64_t>(list.number(1)),
                   .added_s = list.number(2)});
  }
  return all;
}

}  // namespace bulkhead::broker
