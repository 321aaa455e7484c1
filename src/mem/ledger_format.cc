// SPDX-License-Identifier: Apache-2.0
#include "mem/ledger_format.h"

#include <algorithm>

namespace bulkhead {

const char* to_string(FrameState state) {
  switch (state) {
    case FrameState::kFree:
      return "free";
    case FrameState::kOwned:
      return "owned";
    case FrameState::kSealed:
      return "sealed";
    case FrameState::kShared:
      return "shared";
    case FrameState::kScrubbing:
      return "scrubbing";
    case FrameState::kWithheld:
      return "withheld";
  }
  return "?";
}

const char* to_string(Rights rights) {
  switch (rights) {
    case Rights::kRead:
      return "read";
    case Rights::kWrite:
      return "write";
    case Rights::kReadWrite:
      return "read-write";
  }
  return "?";
}

namespace ledger {

bool is_partition_name(std::string_view name) {
  const auto plain = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  return !name.empty() && name.size() <= kMaxNameBytes && name[0] != '-' && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), plain);
}

}  // namespace ledger
}  // namespace bulkhead
