// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "base/result.h"

namespace bulkhead {

// Owns a file descriptor. Move-only; closes in the destructor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int number) : number_(number) {}
  Fd(Fd&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  // open(2) with O_CLOEXEC added. `mode` counts only when a file is created.
  static Result<Fd> open(const char* path, int flags, unsigned mode = 0600);
  // eventfd(2), non-blocking and close-on-exec.
  static Result<Fd> event();
  Result<Fd> duplicate() const;

  int get() const { return number_; }
  bool valid() const { return number_ >= 0; }
  int release() { return std::exchange(number_, -1); }
  void reset();

 private:
  int number_ = -1;
};

// All of it, also where write(2) takes less at a time. `failure`: what an error then says.
Result<void> write_all(int fd, std::span<const std::byte> bytes, const char* failure);

// Adds one to an eventfd. A full counter already means "signalled", so it cannot fail usefully.
void signal_event(int event_fd);
// Takes an eventfd's count, and returns whether there was one.
bool drain_event(int event_fd);

}  // namespace bulkhead
