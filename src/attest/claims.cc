// SPDX-License-Identifier: Apache-2.0
#include "attest/claims.h"

#include <charconv>

namespace bulkhead {
namespace {

// A decimal number without sign, blank or needless zero, from the front of the text.
std::optional<std::uint16_t> take_number(std::string_view& text) {
  std::uint16_t value = 0;
  const char* end = text.data() + text.size();
  const auto [next, error] = std::from_chars(text.data(), end, value);
  const auto length = static_cast<std::size_t>(next - text.data());
  if (error != std::errc() || (length > 1 && text[0] == '0')) return std::nullopt;
  text.remove_prefix(length);
  return value;
}

}  // namespace

std::optional<Version> parse_version(std::string_view text) {
  std::array<std::uint16_t, 3> parts{};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0 && text.empty()) break;
    if (i > 0 && text[0] != '.') return std::nullopt;
    if (i > 0) text.remove_prefix(1);
    const auto part = take_number(text);
    if (!part) return std::nullopt;
    parts[i] = *part;
  }
  if (!text.empty()) return std::nullopt;
  return Version{parts[0], parts[1], parts[2]};
}

std::string to_string(Version version) {
  return std::to_string(version.major_number) + "." + std::to_string(version.minor_number) + "." +
         std::to_string(version.patch_number);
}

const char* to_string(Component component) {
  switch (component) {
    case Component::kMonitor:
      return "monitor";
    case Component::kVtpm:
      return "vtpm";
    case Component::kImage:
      return "image";
  }
  return "unknown";
}

}  // namespace bulkhead
