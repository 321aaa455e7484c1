// SPDX-License-Identifier: Apache-2.0
#include <zlib.h>

#include <memory>
#include <vector>

#include "boot/unpack/decompress.h"

namespace bulkhead::boot {
namespace {

constexpr int kGzipWindow = 15 + 16;  // the largest window, with a gzip header
constexpr std::size_t kOutputBytes = 64 * 1024;

struct End {
  void operator()(z_stream* stream) const { inflateEnd(stream); }
};

}  // namespace

Result<void> decompress_gzip(Source& source, Sink& sink) {
  z_stream stream{};
  if (inflateInit2(&stream, kGzipWindow) != Z_OK) {
    return Error{Errc::kExhausted, 0, "no memory for gzip"};
  }
  const std::unique_ptr<z_stream, End> guard(&stream);
  std::vector<Bytef> output(kOutputBytes);
  int status = Z_OK;
  while (status != Z_STREAM_END) {
    const auto input = TRY(source.next());
    if (input.empty()) return data_ends_early();
    // zlib's input pointer is not const for old compilers' sake; it does not write there.
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(input.data()));
    stream.avail_in = static_cast<uInt>(input.size());
    do {
      stream.next_out = output.data();
      stream.avail_out = static_cast<uInt>(output.size());
      status = inflate(&stream, Z_NO_FLUSH);
      if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) return bad_data();
      TRY(sink.write(std::as_bytes(std::span(output).first(output.size() - stream.avail_out))));
    } while (stream.avail_out == 0 && status != Z_STREAM_END);
  }
  return {};
}

}  // namespace bulkhead::boot
