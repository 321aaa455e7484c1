// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace bulkhead::broker {

using Bytes = std::vector<std::byte>;

// RFC 4648: section 4 with padding, or section 5 without, as JOSE wants it.
enum class Base64 : std::uint8_t { kStandard, kUrl };

std::string encode_base64(Base64 form, std::span<const std::byte> bytes);
// The one text that encodes the bytes, and no other: so nothing can be said in two ways.
Result<Bytes> decode_base64(Base64 form, std::string_view text);

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}
inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {static_cast<const char*>(static_cast<const void*>(bytes.data())), bytes.size()};
}

}  // namespace bulkhead::broker
