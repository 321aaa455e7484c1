// SPDX-License-Identifier: Apache-2.0
#include <lz4.h>

#include <vector>

#include "base/byte_reader.h"
#include "boot/unpack/decompress.h"

namespace bulkhead::boot {
namespace {

// LZ4 Frame Format Description, "Legacy frame": a magic number, then blocks that each unpack to
// 8 MiB, except for the last one. There is no end mark.
constexpr std::size_t kBlockBytes = 8 * 1024 * 1024;
constexpr std::uint64_t kTrailerBytes = 4;  // the uncompressed length, added by the kernel's build

Result<std::uint32_t> read_word(Source& source) {
  std::array<std::byte, 4> word;
  TRY(source.read(word));
  return get_le<std::uint32_t>(word, 0);
}

}  // namespace

Result<void> decompress_lz4(Source& source, Sink& sink) {
  TRY(read_word(source));  // the magic number, already recognised
  std::vector<std::byte> input(static_cast<std::size_t>(LZ4_compressBound(kBlockBytes)));
  std::vector<std::byte> output(kBlockBytes);
  if (source.remaining() <= kTrailerBytes) return data_ends_early();
  while (source.remaining() > kTrailerBytes) {  // each round takes more than that
    const std::uint32_t size = TRY(read_word(source));
    if (size == 0 || size > input.size()) return bad_data();
    TRY(source.read(std::span(input).first(size)));
    const int unpacked = LZ4_decompress_safe(reinterpret_cast<const char*>(input.data()),
                                             reinterpret_cast<char*>(output.data()),
                                             static_cast<int>(size), kBlockBytes);
    if (unpacked < 0) return bad_data();
    TRY(sink.write(std::span(output).first(static_cast<std::size_t>(unpacked))));
  }
  return {};
}

}  // namespace bulkhead::boot
