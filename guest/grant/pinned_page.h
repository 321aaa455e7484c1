// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "base/address.h"
#include "base/fd.h"
#include "base/mapping.h"
#include "base/result.h"

namespace bulkhead::guest {

// A page of zeroes that stays where it is in the guest's memory for as long as this object exists,
// so that it can be granted. A locked page is not enough: the kernel still moves it, to compact its
// memory or to unplug some, and then the grantee would see whatever comes there next. So the page
// is registered as a buffer of an io_uring, which pins it (and first brings it to where pages may
// be pinned).
class PinnedPage {
 public:
  static Result<PinnedPage> create();

  std::span<std::byte> bytes() const { return memory_.bytes(); }
  Gfn gfn() const { return gfn_; }

 private:
  PinnedPage(Mapping memory, Fd ring, Gfn gfn)
      : memory_(std::move(memory)), ring_(std::move(ring)), gfn_(gfn) {}

  Mapping memory_;
  Fd ring_;
  Gfn gfn_;
};

}  // namespace bulkhead::guest
