// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "broker/requester_key.h"

namespace bulkhead::broker {

inline constexpr std::size_t kNonceBytes = 32;
inline constexpr std::size_t kMaxAuthBytes = 16 * 1024;
// Evidence may have 1 MiB; what is around it is small.
inline constexpr std::size_t kMaxAttestBytes = 1024 * 1024 + 64 * 1024;

// The body of POST auth, of which nothing is used but that it is one we understand.
Result<void> check_auth_request(std::string_view body);

// The body of POST attest.
struct AttestRequest {
  Bytes nonce;  // as it was challenged with
  RequesterKey key;
  std::string evidence;  // a JSON text
};
Result<AttestRequest> parse_attest_request(std::string_view body);

// The body that answers auth.
std::string challenge_body(std::span<const std::byte> nonce);

}  // namespace bulkhead::broker
