// SPDX-License-Identifier: Apache-2.0
#include "attest/json/evidence_json.h"

#include <charconv>
#include <exception>

#include "attest/json/strict_json.h"
#include "attest/plain_evidence.h"
#include "base/base64.h"

namespace bulkhead {
namespace attest_json {
namespace {

constexpr int kMaxDepth = 3;

constexpr TpmAlg kBanks[] = {TpmAlg::kSha1, TpmAlg::kSha256, TpmAlg::kSha384, TpmAlg::kSha512};

TpmAlg bank_of(std::string_view name) {
  for (TpmAlg bank : kBanks) {
    if (name == to_string(bank)) return bank;
  }
  throw Refused{"'pcrs' has the unknown bank " + name_shown(name)};
}

// "0" to "23", in one form each.
unsigned pcr_of(std::string_view text) {
  unsigned number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, number);
  const bool needless_zero = text.size() > 1 && text[0] == '0';
  if (code != std::errc() || stop != end || needless_zero || number >= kPcrCount) {
    throw Refused{name_shown(text) + " is no PCR: 0 to 23"};
  }
  return number;
}

Bytes value_of(const Json& value, std::string_view name) {
  if (!value.is_string()) throw Refused{"the value of PCR " + name_shown(name) + " is no string"};
  auto bytes = decode_hex(value.get_ref<const std::string&>());
  if (!bytes) throw Refused{"the value of PCR " + name_shown(name) + " is not hexadecimal"};
  return std::move(*bytes);
}

PcrValues read_pcrs(const Json& banks) {
  PcrValues pcrs;
  for (const auto& [name, values] : banks.items()) {
    const TpmAlg bank = bank_of(name);
    if (!values.is_object()) throw Refused{"the bank " + name_shown(name) + " is no object"};
    for (const auto& [index, value] : values.items()) {
      const auto set = pcrs.set({bank, pcr_of(index)}, value_of(value, index));
      if (!set) throw Refused{"PCR " + name_shown(index) + ": " + set.error().what};
    }
  }
  return pcrs;
}

TpmPublic read_key(const Json& value) {
  auto key = parse_tpm2b_public(bytes_of(value, "key", kKeyLimits));
  if (!key)
    throw Refused{std::string("'key' is no TPM2B_PUBLIC of a signing key: ") + key.error().what};
  return std::move(*key);
}

std::vector<Bytes> read_certificates(const Json& values) {
  if (!values.is_array()) throw Refused{"'certificates' is no array"};
  if (values.size() > kMaxShownCertificates) throw Refused{"there are more than 8 certificates"};
  std::vector<Bytes> certificates;
  for (const Json& value : values)
    certificates.push_back(bytes_of(value, "certificates", kAnyLimits));
  return certificates;
}

Sha256Digest read_digest(const Json& value, std::string_view name) {
  const Bytes bytes = bytes_of(value, name, kDigestLimits);
  Sha256Digest digest;
  std::ranges::copy(bytes, digest.begin());
  return digest;
}

Evidence read(std::string_view text) {
  const Json object = parse_object(text, {.bytes = kMaxEvidenceBytes, .depth = kMaxDepth});
  check_keys(object, "the evidence",
             {"eat_profile", "eat_nonce", "quote", "pcrs", "event_log", "certificates"},
             {"requester_key"});
  if (string_in(object, "eat_profile") != kEvidenceProfile) {
    throw Refused{"'eat_profile' is not " + std::string(kEvidenceProfile)};
  }
  const Json& quote = object_in(object, "quote");
  check_keys(quote, "'quote'", {"attest", "signature", "key"});
  Evidence evidence;
  evidence.nonce = bytes_of(object.at("eat_nonce"), "eat_nonce", kNonceLimits);
  if (object.contains("requester_key")) {
    evidence.requester_key = read_digest(object.at("requester_key"), "requester_key");
  }
  evidence.attest = bytes_of(quote.at("attest"), "attest", kQuoteLimits);
  evidence.signature = bytes_of(quote.at("signature"), "signature", kQuoteLimits);
  evidence.key = read_key(quote.at("key"));
  evidence.pcrs = read_pcrs(object_in(object, "pcrs"));
  evidence.event_log = bytes_of(object.at("event_log"), "event_log", kAnyLimits);
  evidence.certificates = read_certificates(object.at("certificates"));
  return evidence;
}

}  // namespace
}  // namespace attest_json

std::optional<Evidence> parse_evidence(std::string_view text, std::string& error) {
  if (auto evidence = parse_plain_evidence(text)) return std::move(*evidence);
  return parse_evidence_of_any_form(text, error);
}

std::optional<Evidence> parse_evidence_of_any_form(std::string_view text, std::string& error) {
  try {
    return attest_json::read(text);
  } catch (const attest_json::Refused& refused) {
    error = refused.message;
  } catch (const std::exception&) {
    error = "it cannot be read";
  }
  return std::nullopt;
}

std::string write_evidence(const Evidence& evidence) {
  nlohmann::ordered_json object;
  object["eat_profile"] = kEvidenceProfile;
  object["eat_nonce"] = encode_base64(Base64::kUrl, evidence.nonce);
  if (evidence.requester_key)
    object["requester_key"] = encode_base64(Base64::kUrl, *evidence.requester_key);
  object["quote"]["attest"] = encode_base64(Base64::kUrl, evidence.attest);
  object["quote"]["signature"] = encode_base64(Base64::kUrl, evidence.signature);
  object["quote"]["key"] =
      encode_base64(Base64::kUrl, TpmWriter().sized(serialize(evidence.key)).take());
  object["pcrs"] = nlohmann::ordered_json::object();
  for (const auto& [pcr, value] : evidence.pcrs.all()) {
    object["pcrs"][to_string(pcr.bank)][std::to_string(pcr.index)] = to_hex(value);
  }
  object["event_log"] = encode_base64(Base64::kUrl, evidence.event_log);
  object["certificates"] = nlohmann::ordered_json::array();
  for (const Bytes& der : evidence.certificates) {
    object["certificates"].push_back(encode_base64(Base64::kUrl, der));
  }
  return object.dump(2) + "\n";
}

}  // namespace bulkhead
