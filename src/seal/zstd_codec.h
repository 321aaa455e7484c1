// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "seal/page_codec.h"

namespace bulkhead {

// zstd (RFC 8878) at its fastest ordinary level. Keeps no contexts between calls, and wipes
// their memory: they hold plaintext.
class ZstdCodec final : public PageCodec {
 public:
  std::size_t pack(ConstPageBytes page, std::span<std::byte> packed) override;
  Result<void> unpack(std::span<const std::byte> packed, PageBytes page) override;
};

}  // namespace bulkhead
