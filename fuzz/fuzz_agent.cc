// SPDX-License-Identifier: Apache-2.0
// What a server may send to an agent: the head of an answer, a challenge, a refusal, a JWE; what a
// TPM may have in place of certificates, and a disk in place of a header. The first byte chooses.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "agent/address.h"
#include "agent/evidence_source.h"
#include "agent/http.h"
#include "agent/protocol/luks_header.h"
#include "agent/protocol/messages.h"
#include "base/check.h"

namespace bulkhead::agent {
namespace {

void try_head(std::string_view text) {
  const auto head = parse_http_head(text);
  if (!head) return;
  CHECK(head->status >= 200 && head->status <= 599);
  CHECK(head->body_bytes <= kMaxBodyBytes);
  CHECK(text.ends_with("\r\n\r\n"));
  // It goes back in a header of ours.
  CHECK(std::ranges::none_of(head->session, [](char c) { return c <= ' ' || c == ';'; }));
}

void try_refusal(std::string_view text) {
  const auto is_printable = [](std::string_view shown) {
    return std::ranges::all_of(shown, [](char c) { return c >= ' ' && c <= '~'; });
  };
  const Refusal refusal = parse_refusal(text);
  CHECK(is_printable(refusal.kind) && is_printable(refusal.detail));
  CHECK(std::ranges::all_of(refusal.reasons, is_printable));
}

void try_jwe(std::string_view text) {
  static const EphemeralKey key = EphemeralKey::generate().value();
  const auto secret = key.open(text);
  CHECK(!secret);  // nobody has the key
}

void try_certificates(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  const auto certificates = split_certificates(bytes);
  if (!certificates) return;
  Bytes again;
  for (const Bytes& each : *certificates) again.insert(again.end(), each.begin(), each.end());
  CHECK(std::ranges::equal(again, bytes));
}

void try_one(std::uint8_t choice, std::string_view text) {
  switch (choice % 7) {
    case 0:
      return try_head(text);
    case 1:
      return try_refusal(text);
    case 2:
      return try_jwe(text);
    case 3:
      return try_certificates(text);
    case 4:
      return static_cast<void>(parse_challenge(text));
    case 5:
      return static_cast<void>(luks_header_faults(text));
    default:
      return static_cast<void>(parse_address(text));
  }
}

}  // namespace
}  // namespace bulkhead::agent

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto* text = static_cast<const char*>(static_cast<const void*>(data));
  bulkhead::agent::try_one(data[0], std::string_view(text, size).substr(1));
  return 0;
}
