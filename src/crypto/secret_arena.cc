// SPDX-License-Identifier: Apache-2.0
#include "crypto/secret_arena.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "base/address.h"
#include "base/fd.h"

namespace bulkhead {
namespace {

// Contexts of a few hundred keys. Systems with an RLIMIT_MEMLOCK of 64 KiB get the small one.
constexpr std::size_t kArenaBytes = 512 * kKiB;
constexpr std::size_t kSmallArenaBytes = 32 * kKiB;

Result<Mapping> map_hidden(std::size_t size) {
  Fd fd(static_cast<int>(::syscall(SYS_memfd_secret, O_CLOEXEC)));
  if (!fd.valid()) return os_error("the kernel offers no secret memory");
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) {
    return os_error("cannot size secret memory");
  }
  Mapping mapping = TRY(Mapping::create({.size_bytes = size,
                                         .protection = PROT_READ | PROT_WRITE,
                                         .flags = MAP_SHARED,
                                         .fd = fd.get()}));
  // Shared memory cannot be wiped in a child, but can be absent from it.
  if (::madvise(mapping.data(), size, MADV_DONTFORK) != 0) {
    return os_error("cannot keep secret memory from children");
  }
  return mapping;
}

Result<Mapping> map_anonymous(std::size_t size, bool lock) {
  Mapping mapping = TRY(Mapping::create({.size_bytes = size,
                                         .protection = PROT_READ | PROT_WRITE,
                                         .flags = MAP_PRIVATE | MAP_ANONYMOUS}));
  for (int advice : {MADV_DONTDUMP, MADV_WIPEONFORK}) {
    if (::madvise(mapping.data(), size, advice) != 0) return os_error("cannot protect secrets");
  }
  if (lock && ::mlock(mapping.data(), size) != 0) return os_error("cannot lock memory");
  return mapping;
}

Result<Mapping> map_storage(std::size_t size, SecretArena::Storage storage) {
  if (storage == SecretArena::Storage::kHidden) return map_hidden(size);
  return map_anonymous(size, storage == SecretArena::Storage::kLocked);
}

}  // namespace

SecretArena::SecretArena(Mapping mapping, Storage storage)
    : mapping_(std::move(mapping)),
      storage_(storage),
      granules_(mapping_.size() / kGranuleBytes, Granule::kFree) {}

Result<std::unique_ptr<SecretArena>> SecretArena::create(std::size_t size_bytes, Storage storage) {
  const std::size_t size = align_up(size_bytes, kPageSize);
  Mapping mapping = TRY(map_storage(size, storage));
  return std::unique_ptr<SecretArena>(new SecretArena(std::move(mapping), storage));
}

Result<std::unique_ptr<SecretArena>> SecretArena::create(std::size_t size_bytes) {
  for (Storage storage : {Storage::kHidden, Storage::kLocked}) {
    for (std::size_t size : {size_bytes, std::min(size_bytes, kSmallArenaBytes)}) {
      auto arena = create(size, storage);
      if (arena) return arena;
    }
  }
  return create(size_bytes, Storage::kOrdinary);
}

std::size_t SecretArena::find_free(std::size_t count) const {
  std::size_t run = 0;
  for (std::size_t i = 0; i < granules_.size(); ++i) {
    run = granules_[i] == Granule::kFree ? run + 1 : 0;
    if (run == count) return i + 1 - count;
  }
  return granules_.size();
}

std::size_t SecretArena::run_at(std::size_t first) const {
  CHECK(first < granules_.size() && granules_[first] == Granule::kFirst);
  std::size_t end = first + 1;
  while (end < granules_.size() && granules_[end] == Granule::kMore) ++end;
  return end - first;
}

std::size_t SecretArena::granule_of(const void* start) const {
  CHECK(contains(start));
  const auto offset =
      static_cast<std::size_t>(static_cast<const std::byte*>(start) - mapping_.data());
  CHECK(offset % kGranuleBytes == 0);
  return offset / kGranuleBytes;
}

std::span<std::byte> SecretArena::allocate(std::size_t size_bytes) {
  if (size_bytes == 0 || size_bytes > mapping_.size()) return {};
  const std::size_t count = (size_bytes + kGranuleBytes - 1) / kGranuleBytes;
  const MutexLock lock(mutex_);
  const std::size_t first = find_free(count);
  if (first == granules_.size()) return {};
  granules_[first] = Granule::kFirst;
  for (std::size_t i = first + 1; i < first + count; ++i) granules_[i] = Granule::kMore;
  return mapping_.bytes().subspan(first * kGranuleBytes, size_bytes);
}

void SecretArena::release(const void* start) {
  const std::size_t first = granule_of(start);
  const MutexLock lock(mutex_);
  const std::size_t count = run_at(first);
  OPENSSL_cleanse(mapping_.data() + first * kGranuleBytes, count * kGranuleBytes);
  for (std::size_t i = first; i < first + count; ++i) granules_[i] = Granule::kFree;
}

std::span<std::byte> SecretArena::bytes_of(const void* start) {
  const std::size_t first = granule_of(start);
  const MutexLock lock(mutex_);
  return mapping_.bytes().subspan(first * kGranuleBytes, run_at(first) * kGranuleBytes);
}

bool SecretArena::contains(const void* address) const {
  const auto* byte = static_cast<const std::byte*>(address);
  return byte >= mapping_.data() && byte < mapping_.data() + mapping_.size();
}

std::size_t SecretArena::used_bytes() {
  const MutexLock lock(mutex_);
  std::size_t used = 0;
  for (Granule granule : granules_) used += granule == Granule::kFree ? 0 : kGranuleBytes;
  return used;
}

SecretArena* process_secrets() {
  // Never destroyed: OpenSSL frees memory after the last of our destructors.
  static SecretArena* const arena = [] {
    auto made = SecretArena::create(kArenaBytes);
    return made ? std::move(made).value().release() : nullptr;
  }();
  return arena;
}

}  // namespace bulkhead
