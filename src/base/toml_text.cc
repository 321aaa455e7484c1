// SPDX-License-Identifier: Apache-2.0
#include "base/toml_text.h"

namespace bulkhead {

std::size_t first_line_beyond_ascii(std::string_view text) {
  std::size_t line = 1;
  bool at_start = true;
  bool comment = false;
  for (const char c : text) {
    if (c == '\n') {
      ++line;
      at_start = true;
      comment = false;
      continue;
    }
    if (at_start && c == '#') comment = true;
    if (c != ' ' && c != '\t') at_start = false;
    if (!comment && static_cast<unsigned char>(c) > 0x7f) return line;
  }
  return 0;
}

}  // namespace bulkhead
