// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/mapping.h"
#include "base/result.h"
#include "base/thread_annotations.h"

namespace bulkhead {

// Where secrets lie: a small range that no dump, swap device or child shows. Its bookkeeping is
// kept outside of it, so that an overrun of one secret cannot misdirect another. Thread-safe.
//
// A child made by fork(2) does not have the range until it calls exec: it must not touch secrets.
class SecretArena {
 public:
  enum class Storage : std::uint8_t {
    kHidden,    // memfd_secret(2): absent from the kernel's direct map, and so from /proc/kcore
    kLocked,    // anonymous, not swapped, not dumped, wiped in children
    kOrdinary,  // the same, but the host did not let us lock it
  };

  // The best storage that the host grants. Less than `size_bytes` if RLIMIT_MEMLOCK is small.
  static Result<std::unique_ptr<SecretArena>> create(std::size_t size_bytes);
  // One kind and no other, for tests and reports.
  static Result<std::unique_ptr<SecretArena>> create(std::size_t size_bytes, Storage storage);

  // Zeroed bytes; empty when the arena is full.
  std::span<std::byte> allocate(std::size_t size_bytes);
  // Wipes and frees what allocate() gave.
  void release(const void* start);
  // The bytes that belong to an allocation, at least as many as were asked for.
  std::span<std::byte> bytes_of(const void* start);

  bool contains(const void* address) const;
  Storage storage() const { return storage_; }
  bool is_hidden_from_kernel() const { return storage_ == Storage::kHidden; }
  std::size_t size() const { return mapping_.size(); }
  std::size_t used_bytes();

 private:
  enum class Granule : std::uint8_t { kFree, kFirst, kMore };
  static constexpr std::size_t kGranuleBytes = 64;

  SecretArena(Mapping mapping, Storage storage);
  std::size_t find_free(std::size_t count) const REQUIRES(mutex_);
  std::size_t run_at(std::size_t first) const REQUIRES(mutex_);
  std::size_t granule_of(const void* start) const;

  Mapping mapping_;
  Storage storage_;
  Mutex mutex_;
  std::vector<Granule> granules_ GUARDED_BY(mutex_);
};

// The arena of this process, made at first use; null only if the host has no memory at all. There
// is one because OpenSSL's allocator, which can be moved into it, is the process's too.
SecretArena* process_secrets();

}  // namespace bulkhead
