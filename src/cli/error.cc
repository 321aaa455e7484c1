// SPDX-License-Identifier: Apache-2.0
#include "cli/error.h"

#include <cstdio>
#include <cstring>

namespace bulkhead::cli {

std::string errno_text(int error_number) {
  return strerrordesc_np(error_number);
}

void print_error(const std::string& message) {
  std::string line = "bulkhead: " + message;
  for (char& c : line) {
    if ((c >= 0 && c < ' ') || c == 0x7f) c = '?';
  }
  std::fprintf(stderr, "%s\n", line.c_str());
}

}  // namespace bulkhead::cli
