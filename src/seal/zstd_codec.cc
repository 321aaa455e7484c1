// SPDX-License-Identifier: Apache-2.0
#include "seal/zstd_codec.h"

#include <zstd.h>

namespace bulkhead {

std::size_t ZstdCodec::pack(ConstPageBytes page, std::span<std::byte> packed) {
  constexpr int kLevel = 1;
  const std::size_t length =
      ZSTD_compress(packed.data(), packed.size(), page.data(), page.size(), kLevel);
  return ZSTD_isError(length) != 0 ? 0 : length;
}

Result<void> ZstdCodec::unpack(std::span<const std::byte> packed, PageBytes page) {
  const std::size_t length =
      ZSTD_decompress(page.data(), page.size(), packed.data(), packed.size());
  if (ZSTD_isError(length) == 0 && length == page.size()) return {};
  return Error{Errc::kMalformed, 0, "a compressed page is not one page"};
}

}  // namespace bulkhead
