// SPDX-License-Identifier: Apache-2.0
#include <lzma.h>

#include <memory>
#include <vector>

#include "boot/unpack/decompress.h"

namespace bulkhead::boot {
namespace {

constexpr std::uint64_t kMemoryLimit = 128 * 1024 * 1024;  // a kernel's dictionary has 32 MiB
constexpr std::size_t kOutputBytes = 64 * 1024;

struct End {
  void operator()(lzma_stream* stream) const { lzma_end(stream); }
};

Error to_error(lzma_ret status) {
  if (status == LZMA_MEMLIMIT_ERROR || status == LZMA_MEM_ERROR) {
    return Error{Errc::kExhausted, 0, "the kernel's compression needs too much memory"};
  }
  return bad_data();
}

}  // namespace

Result<void> decompress_lzma(Source& source, Sink& sink) {
  lzma_stream stream = LZMA_STREAM_INIT;
  // Recognises both formats.
  const lzma_ret ready = lzma_auto_decoder(&stream, kMemoryLimit, 0);
  if (ready != LZMA_OK) return to_error(ready);
  const std::unique_ptr<lzma_stream, End> guard(&stream);
  std::vector<std::uint8_t> output(kOutputBytes);
  lzma_ret status = LZMA_OK;
  while (status != LZMA_STREAM_END) {
    const auto input = TRY(source.next());
    if (input.empty()) return data_ends_early();
    stream.next_in = reinterpret_cast<const std::uint8_t*>(input.data());
    stream.avail_in = input.size();
    do {
      stream.next_out = output.data();
      stream.avail_out = output.size();
      status = lzma_code(&stream, LZMA_RUN);
      if (status != LZMA_OK && status != LZMA_STREAM_END && status != LZMA_BUF_ERROR) {
        return to_error(status);
      }
      TRY(sink.write(std::as_bytes(std::span(output).first(output.size() - stream.avail_out))));
    } while (stream.avail_out == 0 && status != LZMA_STREAM_END);
  }
  return {};
}

}  // namespace bulkhead::boot
