// SPDX-License-Identifier: Apache-2.0
#include "base/mapping.h"

#include <sys/mman.h>

namespace bulkhead {

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    reset();
    base_ = std::exchange(other.base_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Result<Mapping> Mapping::create(const Request& request) {
  void* base = ::mmap(nullptr, request.size_bytes, request.protection, request.flags, request.fd,
                      static_cast<off_t>(request.offset));
  if (base == MAP_FAILED) return os_error("cannot map memory");
  return Mapping(base, request.size_bytes);
}

void Mapping::reset() {
  if (base_ != nullptr) ::munmap(base_, size_);
  base_ = nullptr;
  size_ = 0;
}

}  // namespace bulkhead
