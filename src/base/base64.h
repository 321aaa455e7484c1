// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace bulkhead {

// RFC 4648: section 4 with padding, or section 5 without, as JSON Web Signatures and Entity
// Attestation Tokens have it.
enum class Base64 : std::uint8_t { kStandard, kUrl };

std::string encode_base64(Base64 form, std::span<const std::byte> bytes);

// kMalformed for anything that encode_base64() would not write: other padding, blanks, letters of
// the other alphabet, bits left over that are not zero. Two texts for the same bytes would be two
// names of one thing. Not for secrets: its time depends on the text.
Result<std::vector<std::byte>> decode_base64(Base64 form, std::string_view text);

}  // namespace bulkhead
