// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

#include "base/mapping.h"
#include "base/result.h"
#include "mem/page_vault.h"

namespace bulkhead {

// A few pages for plaintext on its way between guest memory and a vault: locked, absent from core
// files and from children, wiped by whoever filled them. One thread's own.
class ScratchPages {
 public:
  static constexpr std::size_t kPages = 16;

  static Result<ScratchPages> create();

  PageBytes page(std::size_t index) {
    return bytes().subspan(index * kPageSize).first<kPageSize>();
  }
  std::span<std::byte> bytes() { return mapping_.bytes(); }
  Hva address(std::size_t index) const { return mapping_.host() + index * kPageSize; }
  void wipe(std::size_t first, std::size_t count);

 private:
  explicit ScratchPages(Mapping mapping) : mapping_(std::move(mapping)) {}

  Mapping mapping_;
};

}  // namespace bulkhead
