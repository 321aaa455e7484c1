// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace bulkhead {

// RFC 4648 §5 without padding, as JSON Web Signatures and Entity Attestation Tokens have it.
std::string encode_base64url(std::span<const std::byte> bytes);

// kMalformed for anything that encode_base64url() would not write: padding, blanks, letters of the
// other alphabet, bits left over that are not zero. Not for secrets: its time depends on the text.
Result<std::vector<std::byte>> decode_base64url(std::string_view text);

}  // namespace bulkhead
