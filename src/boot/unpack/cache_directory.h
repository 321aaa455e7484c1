// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/file_stamp.h"
#include "base/result.h"

namespace bulkhead::boot {

// A directory that only we may write to, with files that appear whole or not at all.
class CacheDirectory {
 public:
  // /var/cache/bulkhead for root, else $XDG_CACHE_HOME/bulkhead or ~/.cache/bulkhead.
  static Result<std::string> default_path();
  // Created, with its parent, if it is missing. Refused if others own it or may write to it.
  static Result<CacheDirectory> open(const std::string& path);

  // Only a regular file of ours that nobody else may write to; kNotFound if there is none.
  Result<Fd> open_file(const std::string& name) const;
  void remove(const std::string& name) const;

  // A new file under a temporary name, removed again unless it is published.
  class NewFile {
   public:
    NewFile(NewFile&& other) noexcept;
    NewFile& operator=(NewFile&&) = delete;
    ~NewFile();

    int fd() const { return fd_.get(); }
    // Makes it read-only and durable, and gives it its name, replacing what had it.
    Result<void> publish(const std::string& name);

   private:
    friend class CacheDirectory;
    NewFile(int directory_fd, Fd fd, std::string name);

    int directory_fd_;
    Fd fd_;
    std::string temporary_name_;
  };
  Result<NewFile> create_file() const;

  // Removes all but the newest files whose names end so, and what crashed runs left behind.
  void prune(std::string_view suffix, std::size_t keep) const;

 private:
  explicit CacheDirectory(Fd fd) : fd_(std::move(fd)) {}

  Fd fd_;
};

// All of the bytes, at an offset of the file.
Result<void> write_at(int fd, std::uint64_t offset, std::span<const std::byte> bytes);

}  // namespace bulkhead::boot
