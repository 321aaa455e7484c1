// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "broker/bytes.h"

struct sqlite3;
struct sqlite3_stmt;

namespace bulkhead::broker {

// One statement of SQLite with its values: text of ours, never of a requester's.
class SqliteStatement {
 public:
  static Result<SqliteStatement> prepare(sqlite3* database, std::string_view sql);

  // Values, in order, from 1.
  Result<void> bind(int index, std::string_view text);
  Result<void> bind(int index, std::span<const std::byte> blob);
  Result<void> bind(int index, std::int64_t number);

  // Whether there is a (next) row. kBusy if another process holds the file for too long.
  Result<bool> step();

  std::string text(int column) const;
  Bytes blob(int column) const;
  std::int64_t number(int column) const;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };

  explicit SqliteStatement(sqlite3_stmt* statement) : statement_(statement) {}

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

// An Error for what SQLite has just said.
Error sqlite_error(int code);

}  // namespace bulkhead::broker
