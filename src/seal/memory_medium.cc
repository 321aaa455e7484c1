// SPDX-License-Identifier: Apache-2.0
#include "seal/memory_medium.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/address.h"

namespace bulkhead {

Result<MemoryMedium> MemoryMedium::create(std::uint64_t capacity_bytes) {
  const std::uint64_t capacity = align_up(capacity_bytes, kPageSize);
  Fd fd(::memfd_create("bulkhead-sealed", MFD_CLOEXEC));
  if (!fd.valid()) return os_error("cannot make memory for sealed pages");
  if (::ftruncate(fd.get(), static_cast<off_t>(capacity)) != 0) {
    return os_error("cannot size memory for sealed pages");
  }
  Mapping mapping = TRY(Mapping::create({.size_bytes = capacity,
                                         .protection = PROT_READ | PROT_WRITE,
                                         .flags = MAP_SHARED | MAP_NORESERVE,
                                         .fd = fd.get()}));
  return MemoryMedium(std::move(fd), std::move(mapping));
}

MemoryMedium::MemoryMedium(MemoryMedium&& other) noexcept
    : fd_(std::move(other.fd_)), mapping_(std::move(other.mapping_)), size_(other.size_.load()) {}

std::span<std::byte> MemoryMedium::window(std::uint64_t offset, std::uint64_t length) {
  if (!range_fits(offset, length, size())) return {};
  return mapping_.bytes().subspan(offset, length);
}

Result<void> MemoryMedium::read_at(std::uint64_t offset, std::span<std::byte> bytes) {
  if (!range_fits(offset, bytes.size(), size())) {
    return Error{Errc::kTruncated, 0, "the memory of sealed pages ends too early"};
  }
  std::ranges::copy(mapping_.bytes().subspan(offset, bytes.size()), bytes.begin());
  return {};
}

Result<void> MemoryMedium::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (!range_fits(offset, bytes.size(), size())) {
    return Error{Errc::kExhausted, 0, "the memory of sealed pages is full"};
  }
  std::ranges::copy(bytes, mapping_.bytes().subspan(offset).begin());
  return {};
}

Result<void> MemoryMedium::grow(std::uint64_t size_bytes) {
  if (size_bytes > mapping_.size()) {
    return Error{Errc::kExhausted, 0, "the memory of sealed pages is full"};
  }
  std::uint64_t old = size();
  while (old < size_bytes && !size_.compare_exchange_weak(old, size_bytes)) {
  }
  return {};
}

void MemoryMedium::discard(std::uint64_t offset, std::uint64_t length) {
  [[maybe_unused]] const int ignored =
      ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                  static_cast<off_t>(length));
}

std::uint64_t MemoryMedium::resident_bytes() const {
  struct stat status;
  if (::fstat(fd_.get(), &status) != 0) return 0;
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

}  // namespace bulkhead
