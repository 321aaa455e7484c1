// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"

namespace bulkhead {

// pread(2) and pwrite(2) that finish what they began.

// Fewer bytes than asked for only at the end of the file.
Result<std::size_t> read_at_most(int fd, std::uint64_t offset, std::span<std::byte> bytes);
// kTruncated at the end of the file.
Result<void> read_exactly(int fd, std::uint64_t offset, std::span<std::byte> bytes);
Result<void> write_exactly(int fd, std::uint64_t offset, std::span<const std::byte> bytes);

// Makes the name of a file as lasting as the file.
Result<void> sync_directory_of(const std::string& path);

}  // namespace bulkhead
