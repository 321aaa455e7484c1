// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>

#include "base/check.h"

namespace bulkhead {

// A ring of bytes that has memory only while it holds any.
class VsockBuffer {
 public:
  explicit VsockBuffer(std::size_t capacity) : capacity_(capacity) {}

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::size_t room() const { return capacity_ - size_; }

  // Some of what came first, in one piece; empty only when the buffer is.
  std::span<const std::byte> front() const {
    return {bytes_.get() + begin_, std::min(size_, capacity_ - begin_)};
  }
  void drop_front(std::size_t count) {
    CHECK(count <= size_);
    size_ -= count;
    begin_ = (begin_ + count) % capacity_;
    if (size_ == 0) bytes_.reset();
  }

  // Some of the room, in one piece; empty only when there is none. Once filled, append() it.
  std::span<std::byte> space() {
    if (bytes_ == nullptr) {
      bytes_ = std::make_unique_for_overwrite<std::byte[]>(capacity_);
      begin_ = 0;
    }
    const std::size_t end = (begin_ + size_) % capacity_;
    return {bytes_.get() + end, std::min(room(), capacity_ - end)};
  }
  void append(std::size_t count) {
    CHECK(count <= room());
    size_ += count;
  }

 private:
  std::size_t capacity_;
  std::size_t begin_ = 0;
  std::size_t size_ = 0;
  std::unique_ptr<std::byte[]> bytes_;
};

}  // namespace bulkhead
