// SPDX-License-Identifier: Apache-2.0
#pragma once

// CHECK states what only a defect of ours can break. It aborts in release builds too. No byte that
// comes from a guest, a file or the network may decide its outcome: use Result for those.

namespace bulkhead {

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace bulkhead

#define CHECK(condition)                                        \
  do {                                                          \
    if (!(condition)) [[unlikely]]                              \
      ::bulkhead::check_failed(#condition, __FILE__, __LINE__); \
  } while (false)
