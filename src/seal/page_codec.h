// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "base/result.h"
#include "mem/page_vault.h"

namespace bulkhead {

// Makes pages shorter before they are sealed. What a page's length tells an observer:
// docs/formats/sealed.md. Thread-safe.
class PageCodec {
 public:
  virtual ~PageCodec() = default;

  // How many bytes of `packed` hold the page now; 0 if it does not fit.
  virtual std::size_t pack(ConstPageBytes page, std::span<std::byte> packed) = 0;
  // kMalformed if the bytes are not one whole page, packed.
  virtual Result<void> unpack(std::span<const std::byte> packed, PageBytes page) = 0;
};

}  // namespace bulkhead
