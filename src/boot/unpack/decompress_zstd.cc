// SPDX-License-Identifier: Apache-2.0
#include <zstd.h>

#include <memory>
#include <vector>

#include "boot/unpack/decompress.h"

namespace bulkhead::boot {
namespace {

constexpr int kWindowLogLimit = 27;  // 128 MiB: what `zstd --ultra -22` uses

struct Free {
  void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
};

}  // namespace

Result<void> decompress_zstd(Source& source, Sink& sink) {
  const std::unique_ptr<ZSTD_DStream, Free> stream(ZSTD_createDStream());
  if (stream == nullptr || ZSTD_isError(ZSTD_DCtx_setParameter(stream.get(), ZSTD_d_windowLogMax,
                                                               kWindowLogLimit)) != 0) {
    return Error{Errc::kExhausted, 0, "no memory for zstd"};
  }
  std::vector<std::byte> output(ZSTD_DStreamOutSize());
  std::size_t hint = 1;  // 0 at the end of a frame
  while (hint != 0) {
    const auto piece = TRY(source.next());
    if (piece.empty()) return data_ends_early();
    ZSTD_inBuffer input{piece.data(), piece.size(), 0};
    bool full = true;
    while (hint != 0 && (input.pos < input.size || full)) {
      ZSTD_outBuffer out{output.data(), output.size(), 0};
      hint = ZSTD_decompressStream(stream.get(), &out, &input);
      if (ZSTD_isError(hint) != 0) return bad_data();
      TRY(sink.write(std::span(output).first(out.pos)));
      full = out.pos == out.size;  // then the decoder may hold back more
    }
  }
  return {};
}

}  // namespace bulkhead::boot
