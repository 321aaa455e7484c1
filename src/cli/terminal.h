// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <termios.h>

#include "base/fd.h"

namespace bulkhead::cli {

// Puts a terminal into raw mode, and back when it goes out of scope. Keys such as Ctrl-C then go to
// the guest. Output is still post-processed, so that messages do not staircase.
class RawTerminal {
 public:
  explicit RawTerminal(int fd);
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal() { restore(); }

  void enter();
  void restore();

 private:
  int fd_;
  bool known_ = false;  // `original_` is what to go back to
  termios original_{};
};

// A descriptor for console output that can be written without blocking. It is a new opening of the
// same terminal or pipe, since making `fd` non-blocking would change it under other programs, too.
Fd console_output(int fd);

}  // namespace bulkhead::cli
