// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/key_token.h"

namespace bulkhead::broker {

// What broker and token process say to each other: one datagram each way, one request at a time.
// Request: operation, length of the tenant's name, name, payload. Answer: status (0, or 1 + Errc),
// payload.
enum class TokenOperation : std::uint8_t { kMakeKeys = 1, kWrap, kUnwrap, kSign, kPublicPoint };

inline constexpr std::size_t kMaxTokenMessage = 2048;
inline constexpr int kTokenSocket = 3;  // the token process's descriptor

struct TokenRequest {
  TokenOperation operation = TokenOperation::kSign;
  std::string tenant;
  std::span<const std::byte> payload;
};

// Both sides wipe what they send and receive: payloads may be keys.
Result<SecretBytes> encode_request(const TokenRequest& request);
// The payload points into the message.
Result<TokenRequest> decode_request(std::span<const std::byte> message);

Result<SecretBytes> encode_answer(const Result<SecretBytes>& payload);
// The payload, or the error that the token process has met.
Result<SecretBytes> decode_answer(std::span<const std::byte> message);

// A payload that says nothing but that all went well: one zero byte.
Result<SecretBytes> nothing();

// Does what the request says. No request ends the process.
Result<SecretBytes> serve_token_request(KeyToken& token, std::span<const std::byte> message);

}  // namespace bulkhead::broker
