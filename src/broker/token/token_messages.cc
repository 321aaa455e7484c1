// SPDX-License-Identifier: Apache-2.0
#include "broker/token/token_messages.h"

#include <algorithm>

#include "base/byte_reader.h"
#include "broker/names.h"

namespace bulkhead::broker {
namespace {

constexpr std::size_t kHeadBytes = 2;

Error malformed() {
  return Error{Errc::kMalformed, 0, "not a message between broker and token"};
}

// Literals do not cross the socket; the token process has logged more.
const char* text_of_code(Errc code) {
  switch (code) {
    case Errc::kNotFound:
      return "the token has no keys of this tenant: bulkhead-broker init";
    case Errc::kMalformed:
      return "the tenant's key has not wrapped this";
    case Errc::kUnsupported:
      return "the token lacks a mechanism: AES key wrap, or ECDSA";
    default:
      return "the token failed: see the log";
  }
}

Result<SecretBytes> as_secret(const Result<Bytes>& bytes) {
  if (!bytes) return bytes.error();
  if (bytes->empty()) return malformed();
  return SecretBytes::copy_of(*bytes);
}

}  // namespace

Result<SecretBytes> nothing() {
  return SecretBytes::create(1);
}

Result<SecretBytes> encode_request(const TokenRequest& request) {
  if (!is_tenant_name(request.tenant)) return malformed();
  const std::size_t head = kHeadBytes + request.tenant.size();
  if (request.payload.size() > kMaxTokenMessage - head) return malformed();
  SecretBytes message = TRY(SecretBytes::create(head + request.payload.size()));
  message.bytes()[0] = static_cast<std::byte>(request.operation);
  message.bytes()[1] = static_cast<std::byte>(request.tenant.size());
  std::ranges::copy(bytes_of(request.tenant), message.bytes().begin() + kHeadBytes);
  std::ranges::copy(request.payload, message.bytes().begin() + static_cast<std::ptrdiff_t>(head));
  return message;
}

Result<TokenRequest> decode_request(std::span<const std::byte> message) {
  ByteReader reader(message);
  const auto operation = TRY(reader.read<std::uint8_t>());
  const auto length = TRY(reader.read<std::uint8_t>());
  const std::string tenant(text_of(TRY(reader.take(length))));
  const bool known = operation >= std::uint8_t(TokenOperation::kMakeKeys) &&
                     operation <= std::uint8_t(TokenOperation::kPublicPoint);
  if (!known || !is_tenant_name(tenant)) return malformed();
  return TokenRequest{.operation = static_cast<TokenOperation>(operation),
                      .tenant = tenant,
                      .payload = TRY(reader.take(reader.remaining()))};
}

Result<SecretBytes> encode_answer(const Result<SecretBytes>& payload) {
  const std::size_t size = payload ? payload->size() : 0;
  SecretBytes message = TRY(SecretBytes::create(1 + size));
  message.bytes()[0] =
      payload ? std::byte{0} : static_cast<std::byte>(1 + std::uint8_t(payload.error().code));
  if (payload) std::ranges::copy(payload->bytes(), message.bytes().begin() + 1);
  return message;
}

Result<SecretBytes> decode_answer(std::span<const std::byte> message) {
  ByteReader reader(message);
  const auto status = TRY(reader.read<std::uint8_t>());
  if (status == 0) {
    if (reader.empty()) return malformed();
    return SecretBytes::copy_of(TRY(reader.take(reader.remaining())));
  }
  if (status > 1 + std::uint8_t(Errc::kIo) || !reader.empty()) return malformed();
  const auto code = static_cast<Errc>(status - 1);
  return Error{code, 0, text_of_code(code)};
}

Result<SecretBytes> serve_token_request(KeyToken& token, std::span<const std::byte> message) {
  const TokenRequest request = TRY(decode_request(message));
  switch (request.operation) {
    case TokenOperation::kMakeKeys:
      TRY(token.make_keys(request.tenant));
      return nothing();
    case TokenOperation::kWrap:
      if (request.payload.empty()) return malformed();
      return as_secret(token.wrap(request.tenant, TRY(SecretBytes::copy_of(request.payload))));
    case TokenOperation::kUnwrap:
      return token.unwrap(request.tenant, request.payload);
    case TokenOperation::kSign: {
      Sha256Digest digest;
      if (request.payload.size() != digest.size()) return malformed();
      std::ranges::copy(request.payload, digest.begin());
      return as_secret(token.sign(request.tenant, digest));
    }
    case TokenOperation::kPublicPoint:
      return as_secret(token.public_point(request.tenant));
  }
  return malformed();
}

}  // namespace bulkhead::broker
