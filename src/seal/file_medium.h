// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/fd.h"
#include "seal/medium.h"

namespace bulkhead {

// A file (or block device). Locked as a whole, so that no two open it for writing: kBusy.
class FileMedium final : public Medium {
 public:
  enum class Access : bool { kRead, kWrite };

  static Result<FileMedium> open(const std::string& path, Access access);
  // A new file, 0600; kExists if there is one. Its directory is synced.
  static Result<FileMedium> create(const std::string& path);
  // Takes a descriptor that someone else opened, and locks it.
  static Result<FileMedium> adopt(Fd fd, Access access);

  Result<void> read_at(std::uint64_t offset, std::span<std::byte> bytes) override;
  Result<void> write_at(std::uint64_t offset, std::span<const std::byte> bytes) override;
  Result<void> sync() override;
  std::uint64_t size() override;
  Result<void> grow(std::uint64_t size_bytes) override;
  void discard(std::uint64_t offset, std::uint64_t length) override;

 private:
  explicit FileMedium(Fd fd) : fd_(std::move(fd)) {}

  Fd fd_;
};

}  // namespace bulkhead
