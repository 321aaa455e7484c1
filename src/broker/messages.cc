// SPDX-License-Identifier: Apache-2.0
#include "broker/messages.h"

#include <algorithm>
#include <array>

#include "base/base64.h"

namespace bulkhead::broker {
namespace {

constexpr std::array<std::string_view, 3> kAuthMembers = {"version", "tee", "extra-params"};
constexpr std::array<std::string_view, 3> kAttestMembers = {"init-data", "runtime-data",
                                                            "tee-evidence"};
constexpr std::array<std::string_view, 2> kRuntimeMembers = {"nonce", "tee-pubkey"};
constexpr std::array<std::string_view, 2> kEvidenceMembers = {"primary_evidence",
                                                              "additional_evidence"};

Error malformed(const char* what) {
  return Error{Errc::kMalformed, 0, what};
}

// The protocol's versions with this form of messages: 0.1 to 0.4, any patch.
bool is_known_version(std::string_view text) {
  if (text.size() > 16 || !text.starts_with("0.")) return false;
  text.remove_prefix(2);
  const std::size_t dot = text.find('.');
  if (dot != 1 || text[0] < '1' || text[0] > '4') return false;
  text.remove_prefix(2);
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

Result<Bytes> parse_nonce(const Json& runtime) {
  const std::string* text = string_member(runtime, "nonce");
  if (text == nullptr) return malformed("runtime-data.nonce is missing");
  Result<Bytes> nonce = decode_base64(Base64::kStandard, *text);
  if (!nonce || nonce->size() != kNonceBytes) {
    return malformed("runtime-data.nonce is not a nonce of this broker");
  }
  return nonce;
}

bool is_absent(const Json* additional) {
  return additional == nullptr || *additional == "" || *additional == "{}";
}

// {"primary_evidence": E, "additional_evidence": none}, or E itself as before version 0.4.
Result<std::string> parse_evidence(const Json& request) {
  const Json* evidence = member(request, "tee-evidence");
  if (evidence == nullptr) return malformed("tee-evidence is missing");
  if (const Json* primary = member(*evidence, "primary_evidence")) {
    if (!has_only(*evidence, kEvidenceMembers) ||
        !is_absent(member(*evidence, "additional_evidence"))) {
      return malformed("tee-evidence: only primary_evidence is understood here");
    }
    evidence = primary;
  }
  if (const auto* text = evidence->get_ptr<const std::string*>()) return *text;
  if (!evidence->is_object()) return malformed("tee-evidence is no JSON object");
  return evidence->dump();
}

}  // namespace

Result<void> check_auth_request(std::string_view body) {
  const Json request = TRY(parse_json(body, kMaxAuthBytes));
  if (!has_only(request, kAuthMembers)) {
    return malformed("the request has other members than version, tee, extra-params");
  }
  const std::string* version = string_member(request, "version");
  if (version == nullptr || !is_known_version(*version)) {
    return Error{Errc::kUnsupported, 0, "version: this broker speaks 0.1 to 0.4"};
  }
  const std::string* tee = string_member(request, "tee");
  if (tee == nullptr || (*tee != "tpm" && *tee != "bulkhead")) {
    return Error{Errc::kUnsupported, 0, "tee: this broker verifies evidence of tpm, bulkhead"};
  }
  return {};
}

Result<AttestRequest> parse_attest_request(std::string_view body) {
  const Json request = TRY(parse_json(body, kMaxAttestBytes));
  if (!has_only(request, kAttestMembers)) {
    return malformed("the request has other members than runtime-data, tee-evidence, init-data");
  }
  // Data that no evidence vouches for would only seem to count.
  if (const Json* init = member(request, "init-data"); init != nullptr && !init->is_null()) {
    return Error{Errc::kUnsupported, 0, "init-data is not measured here; leave it out"};
  }
  const Json* runtime = member(request, "runtime-data");
  if (runtime == nullptr || !has_only(*runtime, kRuntimeMembers)) {
    return malformed("runtime-data is missing, or has other members than nonce, tee-pubkey");
  }
  const Json* key = member(*runtime, "tee-pubkey");
  if (key == nullptr) return malformed("runtime-data.tee-pubkey is missing");
  return AttestRequest{.nonce = TRY(parse_nonce(*runtime)),
                       .key = TRY(RequesterKey::parse(*key)),
                       .evidence = TRY(parse_evidence(request))};
}

std::string challenge_body(std::span<const std::byte> nonce) {
  return Json{{"nonce", encode_base64(Base64::kStandard, nonce)}, {"extra-params", ""}}.dump();
}

}  // namespace bulkhead::broker
