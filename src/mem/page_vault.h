// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

#include "base/address.h"
#include "base/result.h"

namespace bulkhead {

using PageBytes = std::span<std::byte, kPageSize>;
using ConstPageBytes = std::span<const std::byte, kPageSize>;

// Where pages go that leave a partition's memory: mem/ moves them, the vault seals them. Any thread
// may call, but no two at once for the same page.
class PageVault {
 public:
  virtual ~PageVault() = default;

  // Seals the page's content in place of what the vault had of it. On an error it keeps the old.
  virtual Result<void> put(PageIndex page, ConstPageBytes plaintext) = 0;
  // The content last put, or zeroes if there was none. An error means that not one byte of
  // `plaintext` may be used: what was stored is not what was put (kMalformed), or cannot be read.
  virtual Result<void> get(PageIndex page, PageBytes plaintext) = 0;
  // The content is no longer needed; get() would give zeroes.
  virtual void forget(PageIndex page) = 0;
};

}  // namespace bulkhead
