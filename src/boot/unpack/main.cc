// SPDX-License-Identifier: Apache-2.0
// bulkhead-unpack: decompresses a bzImage's payload, confined. See helper_protocol.h.

#include <unistd.h>

#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <span>

#include "boot/unpack/confine.h"
#include "boot/unpack/decompress.h"
#include "boot/unpack/helper_protocol.h"

namespace bulkhead::boot {
namespace {

constexpr std::uint64_t kHeaderBytes = 4096;  // already in the output, in front of the payload

std::optional<std::uint64_t> parse_number(const char* text) {
  std::uint64_t value = 0;
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, value);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

UnpackStatus to_status(const Error& error) {
  switch (error.code) {
    case Errc::kMalformed:
    case Errc::kTruncated:
      return UnpackStatus::kDamaged;
    case Errc::kUnsupported:
      return UnpackStatus::kUnsupported;
    case Errc::kExhausted:
      return error.os_errno == 0 ? UnpackStatus::kTooLarge : UnpackStatus::kNoSpace;
    default:
      // Quota and file size limits say "no space", too.
      return error.os_errno == ENOSPC || error.os_errno == EDQUOT || error.os_errno == EFBIG
                 ? UnpackStatus::kNoSpace
                 : UnpackStatus::kIo;
  }
}

Result<void> unpack(const Source::Range& payload, std::uint64_t limit_bytes) {
  std::array<std::byte, kMagicBytes> start;
  TRY(Source(kUnpackInputFd, payload).read(start));
  const auto compression = detect_compression(start);
  if (!compression) return Error{Errc::kUnsupported, 0, "unknown compression"};
  Source source(kUnpackInputFd, payload);
  Sink sink(kUnpackOutputFd, limit_bytes);
  return decompress(*compression, source, sink);
}

UnpackStatus run(std::span<char*> arguments) {
  if (arguments.size() != 4) return UnpackStatus::kUsage;
  const auto offset = parse_number(arguments[1]);
  const auto size = parse_number(arguments[2]);
  const auto limit = parse_number(arguments[3]);
  if (!offset || !size || !limit) return UnpackStatus::kUsage;
  if (!confine(kHeaderBytes + *limit)) return UnpackStatus::kNotConfined;
  const auto done = unpack({*offset, *size}, *limit);
  return done ? UnpackStatus::kDone : to_status(done.error());
}

}  // namespace
}  // namespace bulkhead::boot

int main(int argc, char** argv) {
  const auto status = bulkhead::boot::run(std::span(argv, static_cast<std::size_t>(argc)));
  // Straight to the kernel: exit handlers are not on the list of allowed calls.
  ::_exit(static_cast<int>(status));
}
