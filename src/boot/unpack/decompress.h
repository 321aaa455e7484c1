// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/result.h"

// The decompressors for a bzImage's payload. They run in the confined helper only; every one reads
// from a bounded source and writes to a bounded sink, and takes a bounded amount of memory.

namespace bulkhead::boot {

enum class Compression : std::uint8_t { kGzip, kXz, kLzma, kZstd, kLz4 };

// By the first bytes, as Linux' lib/decompress.c does. No value: none of the above.
inline constexpr std::size_t kMagicBytes = 6;
std::optional<Compression> detect_compression(std::span<const std::byte> start);

// A range of a file, read in order.
class Source {
 public:
  struct Range {
    std::uint64_t offset = 0;
    std::uint64_t size_bytes = 0;
  };
  Source(int fd, Range range) : fd_(fd), range_(range) {}

  std::uint64_t remaining() const { return range_.size_bytes; }
  // The next bytes, empty only at the end. They stay valid until the next call.
  Result<std::span<const std::byte>> next();
  // Exactly so many bytes, or an error.
  Result<void> read(std::span<std::byte> to);

 private:
  int fd_;
  Range range_;
  std::array<std::byte, 65536> buffer_;
};

// A file that is written in order, up to a limit.
class Sink {
 public:
  Sink(int fd, std::uint64_t limit_bytes) : fd_(fd), left_(limit_bytes) {}
  Result<void> write(std::span<const std::byte> bytes);

 private:
  int fd_;
  std::uint64_t left_;
};

// Decompresses one stream. What follows it in the source is ignored: a kernel's build appends the
// uncompressed length to most formats.
Result<void> decompress(Compression compression, Source& source, Sink& sink);

// One each; decompress() chooses.
Result<void> decompress_gzip(Source& source, Sink& sink);
Result<void> decompress_lzma(Source& source, Sink& sink);  // the .xz and the .lzma format
Result<void> decompress_zstd(Source& source, Sink& sink);
Result<void> decompress_lz4(Source& source, Sink& sink);

// Errors that all of them share.
Error bad_data();
Error data_ends_early();

}  // namespace bulkhead::boot
