// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include "base/address.h"
#include "base/fd.h"
#include "base/mapping.h"
#include "base/result.h"

namespace bulkhead {

// The last kBytes of the guest's console output. Positions count all bytes ever written, so each
// reader keeps its own and finds out by itself what it has missed. Not thread-safe.
class ConsoleRing {
 public:
  static constexpr std::uint64_t kBytes = 256 * kKiB;

  static Result<ConsoleRing> create();

  void write(std::span<const std::byte> bytes);
  std::uint64_t end() const { return end_; }
  std::uint64_t begin() const { return end_ > kBytes ? end_ - kBytes : 0; }
  // The position `count` bytes back from `position`, or the oldest there is.
  std::uint64_t back(std::uint64_t position, std::uint64_t count) const;
  // Copies what follows `position`, which is in [begin(), end()], and returns how much that was.
  std::size_t copy(std::uint64_t position, std::span<std::byte> out) const;

 private:
  explicit ConsoleRing(Mapping memory) : memory_(std::move(memory)) {}

  Mapping memory_;  // anonymous: a quiet guest costs no pages
  std::uint64_t end_ = 0;
};

// A descriptor that console output goes to, without blocking whatever it is: terminal, pipe,
// socket, regular file.
class ConsoleSink {
 public:
  enum class Outcome : std::uint8_t { kWritten, kFull, kClosed };
  static constexpr std::size_t kChunk = 16 * kKiB;

  // `limit_bytes` bounds a regular file; 0: no bound.
  explicit ConsoleSink(Fd fd, std::uint64_t limit_bytes = 0);

  int fd() const { return fd_.get(); }
  // Whether epoll can tell when there is room. Regular files always have some.
  bool pollable() const { return pollable_; }
  void set_always_ready();
  // Whether each write needs poll's word that there is room, because it would block otherwise.
  bool must_poll() const { return chunk_bytes_ != kChunk; }

  // Empties the file when `count` bytes more would exceed the limit, and says so.
  bool start_over_if_full(std::size_t count);
  // Writes a part of `bytes`; `written` says how much.
  Outcome write(std::span<const std::byte> bytes, std::size_t& written);

 private:
  Fd fd_;
  std::uint64_t limit_bytes_;
  std::uint64_t size_bytes_ = 0;
  std::size_t chunk_bytes_ = kChunk;
  bool socket_ = false;
  bool pollable_ = true;
};

}  // namespace bulkhead
