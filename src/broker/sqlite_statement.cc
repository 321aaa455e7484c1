// SPDX-License-Identifier: Apache-2.0
#include "broker/sqlite_statement.h"

#include <sqlite3.h>

namespace bulkhead::broker {
namespace {

Result<void> checked(int code) {
  if (code == SQLITE_OK) return {};
  return sqlite_error(code);
}

}  // namespace

Error sqlite_error(int code) {
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Error{Errc::kBusy, 0, "another process holds the resource store; try again"};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Error{Errc::kMalformed, 0, "the resource store is damaged, or is none"};
    case SQLITE_FULL:
      return Error{Errc::kExhausted, 0, "the resource store's file system is full"};
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return Error{Errc::kPermission, 0, "the resource store cannot be written"};
    case SQLITE_CANTOPEN:
      return Error{Errc::kNotFound, 0, "no resource store: bulkhead-broker init makes one"};
    default:
      return Error{Errc::kIo, 0, "the resource store cannot be read or written"};
  }
}

void SqliteStatement::Finalize::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

Result<SqliteStatement> SqliteStatement::prepare(sqlite3* database, std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  TRY(checked(
      sqlite3_prepare_v2(database, sql.data(), static_cast<int>(sql.size()), &statement, nullptr)));
  return SqliteStatement(statement);
}

Result<void> SqliteStatement::bind(int index, std::string_view text) {
  return checked(sqlite3_bind_text64(statement_.get(), index, text.data(), text.size(),
                                     SQLITE_STATIC, SQLITE_UTF8));
}

Result<void> SqliteStatement::bind(int index, std::span<const std::byte> blob) {
  return checked(
      sqlite3_bind_blob64(statement_.get(), index, blob.data(), blob.size(), SQLITE_STATIC));
}

Result<void> SqliteStatement::bind(int index, std::int64_t number) {
  return checked(sqlite3_bind_int64(statement_.get(), index, number));
}

Result<bool> SqliteStatement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return sqlite_error(code);
}

std::string SqliteStatement::text(int column) const {
  const Bytes bytes = blob(column);
  return std::string(text_of(bytes));
}

Bytes SqliteStatement::blob(int column) const {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column));
  if (data == nullptr) return {};
  const std::span bytes(static_cast<const std::byte*>(data), size);
  return {bytes.begin(), bytes.end()};
}

std::int64_t SqliteStatement::number(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

}  // namespace bulkhead::broker
