// SPDX-License-Identifier: Apache-2.0
#include "base/isolation.h"

#include <algorithm>

namespace bulkhead {

const char* to_string(Isolation level) {
  switch (level) {
    case Isolation::kMemfd:
      return "memfd";
    case Isolation::kHugetlb:
      return "hugetlb";
    case Isolation::kCarved:
      return "carved";
    case Isolation::kGmem:
      return "gmem";
    case Isolation::kSnp:
      return "snp";
    case Isolation::kTdx:
      return "tdx";
    case Isolation::kNone:
      break;
  }
  return "none";
}

std::optional<Isolation> isolation_named(std::string_view name) {
  for (auto level : {Isolation::kNone, Isolation::kMemfd, Isolation::kHugetlb, Isolation::kCarved,
                     Isolation::kGmem, Isolation::kSnp, Isolation::kTdx}) {
    if (name == to_string(level)) return level;
  }
  return std::nullopt;
}

bool at_least(Isolation level, Isolation wanted) {
  return level >= std::min(wanted, Isolation::kSnp);
}

}  // namespace bulkhead
