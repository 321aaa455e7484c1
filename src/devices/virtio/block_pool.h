// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/mman.h>

#include <array>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>

#include "base/mapping.h"
#include "devices/virtio/block_request.h"

namespace bulkhead {

// The requests under way of one disk. Those used last are used first, and the others are not even
// touched: a disk that is never busy costs a few pages.
class RequestPool {
 public:
  static constexpr std::size_t kSize = 128;

  static Result<RequestPool> create() {
    return RequestPool(TRY(Mapping::create({.size_bytes = kSize * sizeof(BlockRequest),
                                            .protection = PROT_READ | PROT_WRITE,
                                            .flags = MAP_PRIVATE | MAP_ANONYMOUS})));
  }

  bool empty() const { return free_count_ == 0 && made_ == kSize; }
  std::size_t in_use() const { return made_ - free_count_; }

  // nullptr when all are in use.
  BlockRequest* acquire() {
    if (free_count_ > 0) return &at(free_[--free_count_]);
    if (made_ == kSize) return nullptr;
    return new (memory_.data() + sizeof(BlockRequest) * made_++) BlockRequest;
  }
  void release(const BlockRequest& request) {
    free_[free_count_++] = static_cast<std::uint16_t>(index_of(request));
  }
  void release_all() {
    for (free_count_ = 0; free_count_ < made_; ++free_count_) {
      free_[free_count_] = static_cast<std::uint16_t>(made_ - 1 - free_count_);
    }
  }

  std::size_t index_of(const BlockRequest& request) const {
    return static_cast<std::size_t>(&request - first());
  }
  BlockRequest& at(std::size_t index) {
    CHECK(index < made_);
    return first()[index];
  }

 private:
  static_assert(std::is_trivially_destructible_v<BlockRequest>);

  explicit RequestPool(Mapping memory) : memory_(std::move(memory)) {}
  BlockRequest* first() const {
    return std::launder(reinterpret_cast<BlockRequest*>(memory_.data()));
  }

  Mapping memory_;
  std::size_t made_ = 0;  // requests [0, made_) exist
  std::array<std::uint16_t, kSize> free_{};
  std::size_t free_count_ = 0;
};

}  // namespace bulkhead
