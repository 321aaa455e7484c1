// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/result.h"

namespace bulkhead {

// What tells one state of a file from another: whoever changes the content changes ctime, too, and
// cannot set it back without being root.
struct FileStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t modified_ns = 0;
  std::uint64_t changed_ns = 0;

  bool operator==(const FileStamp&) const = default;

  static Result<FileStamp> of(int fd);
  // Whether the file was changed so recently that a further change might leave the same times.
  bool is_fresh() const;
};

}  // namespace bulkhead
