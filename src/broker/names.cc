// SPDX-License-Identifier: Apache-2.0
#include "broker/names.h"

#include <algorithm>

namespace bulkhead::broker {
namespace {

bool is_lower_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool is_part(std::string_view text) {
  const auto is_good = [](char c) {
    return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' || c == '-';
  };
  return !text.empty() && text.size() <= kMaxNameBytes && text != "." && text != ".." &&
         std::ranges::all_of(text, is_good);
}

}  // namespace

bool is_tenant_name(std::string_view text) {
  return !text.empty() && text.size() <= kMaxNameBytes &&
         std::ranges::all_of(text, [](char c) { return is_lower_or_digit(c) || c == '-'; });
}

bool is_resource_name(std::string_view text) {
  const std::size_t first = text.find('/');
  const std::size_t last = text.rfind('/');
  if (first == std::string_view::npos || first == last) return false;
  return is_part(text.substr(0, first)) && is_part(text.substr(first + 1, last - first - 1)) &&
         is_part(text.substr(last + 1));
}

}  // namespace bulkhead::broker
