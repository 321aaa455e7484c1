// SPDX-License-Identifier: Apache-2.0
#include "agent/protocol/messages.h"

#include <algorithm>

#include "agent/http.h"
#include "attest/json/evidence_json.h"
#include "base/base64.h"

namespace bulkhead::agent {
namespace {

using broker::Json;

constexpr std::string_view kKindPrefix = "urn:bulkhead:broker:";
constexpr std::size_t kMaxShownBytes = 1024;
constexpr std::size_t kMaxReasons = 32;  // there are 23 checks

// Nothing that a terminal or a log would understand otherwise.
std::string shown(std::string_view foreign) {
  std::string text(foreign.substr(0, kMaxShownBytes));
  std::ranges::replace_if(text, [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

std::string shown_member(const Json& object, std::string_view name) {
  const std::string* text = broker::string_member(object, name);
  return text == nullptr ? "" : shown(*text);
}

}  // namespace

std::string auth_body() {
  return Json{{"version", "0.4.0"}, {"tee", "tpm"}, {"extra-params", ""}}.dump();
}

Result<Bytes> parse_challenge(std::string_view body) {
  constexpr std::size_t kLeast = 8;
  constexpr std::size_t kMost = 64;
  const Error none{Errc::kMalformed, 0, "the broker's challenge has no nonce of 8 to 64 bytes"};
  const auto json = broker::parse_json(body, kMaxBodyBytes);
  if (!json) return none;
  const std::string* text = broker::string_member(*json, "nonce");
  if (text == nullptr) return none;
  Result<Bytes> nonce = decode_base64(Base64::kStandard, *text);
  if (!nonce || nonce->size() < kLeast || nonce->size() > kMost) return none;
  return nonce;
}

std::string attest_body(const EphemeralKey& key, const Evidence& evidence) {
  return Json{
      {"runtime-data",
       {{"nonce", encode_base64(Base64::kStandard, evidence.nonce)}, {"tee-pubkey", key.jwk()}}},
      {"tee-evidence",
       {{"primary_evidence", Json::parse(write_evidence(evidence))}, {"additional_evidence", ""}}}}
      .dump();
}

Refusal parse_refusal(std::string_view body) {
  Refusal refusal;
  const auto json = broker::parse_json(body, kMaxBodyBytes);
  if (!json) return refusal;
  const std::string type = shown_member(*json, "type");
  if (type.starts_with(kKindPrefix)) refusal.kind = type.substr(kKindPrefix.size());
  refusal.detail = shown_member(*json, "detail");
  const Json* reasons = broker::member(*json, "reasons");
  if (reasons == nullptr || !reasons->is_array()) return refusal;
  for (const Json& reason : *reasons) {
    if (refusal.reasons.size() == kMaxReasons) break;
    std::string text = shown_member(reason, "text");
    if (!text.empty()) refusal.reasons.push_back(std::move(text));
  }
  return refusal;
}

}  // namespace bulkhead::agent
