// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace bulkhead {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "level=fatal event=check_failed condition=\"%s\" at=%s:%d\n", condition,
               file, line);
  std::abort();
}

}  // namespace bulkhead
