// SPDX-License-Identifier: Apache-2.0
#include "boot/unpack/decompress.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace bulkhead::boot {
namespace {

struct Magic {
  std::string_view bytes;
  Compression compression;
};

using namespace std::string_view_literals;  // some magics contain NUL
constexpr Magic kMagics[] = {
    {"\x1f\x8b"sv, Compression::kGzip},
    {"\xfd"
     "7zXZ\0"sv,
     Compression::kXz},
    {"\x5d\0\0"sv, Compression::kLzma},
    {"\x28\xb5\x2f\xfd"sv, Compression::kZstd},
    {"\x02\x21\x4c\x18"sv, Compression::kLz4},
};

}  // namespace

Error bad_data() {
  return Error{Errc::kMalformed, 0, "the compressed data is damaged"};
}
Error data_ends_early() {
  return Error{Errc::kTruncated, 0, "the compressed data ends too early"};
}

std::optional<Compression> detect_compression(std::span<const std::byte> start) {
  for (const Magic& magic : kMagics) {
    const auto bytes = std::as_bytes(std::span(magic.bytes));
    if (start.size() >= bytes.size() && std::ranges::equal(bytes, start.first(bytes.size()))) {
      return magic.compression;
    }
  }
  return std::nullopt;
}

Result<void> Source::read(std::span<std::byte> to) {
  if (to.size() > range_.size_bytes) return data_ends_early();
  while (!to.empty()) {
    const ssize_t got = ::pread(fd_, to.data(), to.size(), static_cast<off_t>(range_.offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return os_error("cannot read the kernel");
    if (got == 0) return data_ends_early();
    const auto count = static_cast<std::size_t>(got);
    to = to.subspan(count);
    range_.offset += count;
    range_.size_bytes -= count;
  }
  return {};
}

Result<std::span<const std::byte>> Source::next() {
  const auto piece =
      std::span(buffer_).first(std::min<std::uint64_t>(buffer_.size(), range_.size_bytes));
  TRY(read(piece));
  return std::span<const std::byte>(piece);
}

Result<void> Sink::write(std::span<const std::byte> bytes) {
  if (bytes.size() > left_) {
    return Error{Errc::kExhausted, 0, "the kernel unpacks to more than it may"};
  }
  left_ -= bytes.size();
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd_, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return os_error("cannot write the unpacked kernel");
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  return {};
}

Result<void> decompress(Compression compression, Source& source, Sink& sink) {
  switch (compression) {
    case Compression::kGzip:
      return decompress_gzip(source, sink);
    case Compression::kXz:
    case Compression::kLzma:
      return decompress_lzma(source, sink);
    case Compression::kZstd:
      return decompress_zstd(source, sink);
    case Compression::kLz4:
      return decompress_lz4(source, sink);
  }
  return bad_data();
}

}  // namespace bulkhead::boot
