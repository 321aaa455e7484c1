// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "attest/json/attestation_result.h"
#include "attest/json/evidence_json.h"
#include "attest/toml/policy_file.h"
#include "attest/trust_directory.h"
#include "base/base64.h"
#include "cli/commands.h"
#include "cli/error.h"
#include "cli/verify_report.h"
#include "crypto/secret_bytes.h"

namespace bulkhead::cli {
namespace {

constexpr int kExitRefused = 1;
constexpr int kExitCannotLook = 3;
constexpr const char* kDefaultTrust = "/etc/bulkhead/trust";
constexpr std::size_t kMaxPemBytes = 1024 * 1024;
constexpr std::size_t kMaxNonceBytes = 64;

// A file that is missing must not look like a refusal.
class CannotLook : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

std::string read_file(const std::string& what, const std::string& path, std::size_t max_bytes) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw CannotLook(what + " '" + path + "': " + errno_text(errno) + "; check the path");
  std::string text(max_bytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (file.bad()) throw CannotLook(what + " '" + path + "' cannot be read");
  return text;
}

struct PolicyFile {
  Policy policy;
  Sha256Digest digest{};
};

PolicyFile read_policy(const std::string& path) {
  const std::string text = read_file("policy", path, kMaxPolicyBytes);
  PolicyError error;
  auto policy = parse_policy(text, error);
  if (!policy) {
    const std::string place = error.line == 0 ? "" : ", line " + std::to_string(error.line);
    throw UsageError("policy '" + path + "'" + place + ": " + error.message);
  }
  const auto digest = Sha256::of(std::as_bytes(std::span(text)));
  if (!digest) throw CannotLook(digest.error().what);
  return {std::move(*policy), *digest};
}

TrustStore no_roots() {
  auto store = TrustStore::create();
  if (!store) throw CannotLook(store.error().what);
  return std::move(*store);
}

TrustStore read_trust(const std::string& named) {
  if (named.empty() && !std::filesystem::exists(kDefaultTrust)) return no_roots();
  std::string error;
  auto store = read_trust_directory(named.empty() ? kDefaultTrust : named, error);
  if (!store) throw CannotLook(error);
  return std::move(*store);
}

UtcTime parse_time(const char* option, const std::string& text) {
  if (const auto time = parse_utc_time(text)) return *time;
  throw UsageError(std::string(option) + " '" + text + "' is no time like 2026-11-22T14:05:00Z");
}

UtcTime now_or(const std::string& text) {
  if (!text.empty()) return parse_time("--time", text);
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

Bytes parse_nonce(const std::string& text) {
  const auto bytes = text.starts_with("hex:") ? decode_hex(std::string_view(text).substr(4))
                                              : decode_base64(Base64::kUrl, text);
  if (!bytes || bytes->empty() || bytes->size() > kMaxNonceBytes) {
    throw UsageError("--nonce '" + text + "' is not 1 to 64 bytes in base64url, or hex:DIGITS");
  }
  return *bytes;
}

// The requester's key is the evidence's own word, which the quote has to bear out.
EvidenceExpectation expectation_of(const VerifyOptions& options, const Evidence& evidence,
                                   const Policy& policy, const TrustStore& trust) {
  EvidenceExpectation expectation{.policy = policy, .trust = trust, .now = now_or(options.time)};
  if (!options.secret.empty()) expectation.secret = options.secret;
  if (options.nonce.empty()) return expectation;
  expectation.challenge = Challenge{parse_nonce(options.nonce), evidence.requester_key};
  if (options.nonce_time.empty()) return expectation;
  const UtcTime asked = parse_time("--nonce-time", options.nonce_time);
  if (asked > expectation.now) throw UsageError("--nonce-time lies behind the time of --time");
  expectation.asked_s_ago = static_cast<std::uint64_t>((expectation.now - asked).count());
  return expectation;
}

// Before anything is read: nobody wants to hear of a typing error last.
void check_options(const VerifyOptions& options) {
  if (!options.nonce.empty()) parse_nonce(options.nonce);
  now_or(options.time);
  if (!options.nonce_time.empty()) {
    parse_time("--nonce-time", options.nonce_time);
    if (options.nonce.empty()) throw UsageError("--nonce-time says when --nonce was given out");
  }
  if (options.ear.empty() != options.ear_key.empty()) {
    throw UsageError("--ear FILE and --ear-key KEY belong together");
  }
}

SigningKey read_ear_key(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) == 0 && (status.st_mode & 077) != 0) {
    throw CannotLook("key '" + path + "' can be read by others; chmod 600 it");
  }
  std::string pem = read_file("key", path, kMaxPemBytes);
  auto key = SigningKey::from_pem(std::as_bytes(std::span(pem)));
  wipe(std::as_writable_bytes(std::span(pem)));
  if (!key) {
    throw CannotLook("key '" + path + "': " + key.error().what +
                     "; make one: openssl ecparam -name prime256v1 -genkey -noout");
  }
  return std::move(*key);
}

void write_token(const VerifyOptions& options, const EvidenceVerdict& verdict,
                 const ResultContext& context, const SigningKey& key) {
  const auto token = result_token(verdict, context, key);
  if (!token) throw CannotLook(std::string("cannot sign the result: ") + token.error().what);
  std::ofstream file(options.ear, std::ios::binary | std::ios::trunc);
  file << *token << '\n';
  if (!file.flush()) {
    throw CannotLook("cannot write '" + options.ear + "': " + errno_text(errno));
  }
}

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

int refuse_malformed(const VerifyOptions& options, const std::string& error) {
  if (options.json) {
    print("{\n  \"accepted\": false,\n  \"reason\": \"evidence\"\n}\n");
  }
  print_error("REFUSED: evidence '" + options.evidence + "': " + error);
  return kExitRefused;
}

int verify(const VerifyOptions& options) {
  const PolicyFile policy = read_policy(options.policy);
  const TrustStore trust = read_trust(options.trust);
  std::optional<SigningKey> key;
  if (!options.ear_key.empty()) key = read_ear_key(options.ear_key);
  const std::string text = read_file("evidence", options.evidence, kMaxEvidenceBytes);
  std::string error;
  const auto evidence = parse_evidence(text, error);
  if (!evidence) return refuse_malformed(options, error);
  const EvidenceExpectation expectation = expectation_of(options, *evidence, policy.policy, trust);
  const EvidenceVerdict verdict = verify_evidence(*evidence, expectation);
  const ResultContext context{.verifier = std::string("bulkhead ") + BULKHEAD_VERSION,
                              .policy = policy.digest,
                              .now = expectation.now,
                              .expectation = expectation};
  if (key) write_token(options, verdict, context, *key);
  print(options.json ? result_json(verdict, context) : verdict_text(verdict, expectation));
  if (trust.size() == 0) print_error("nobody is trusted; name a directory of roots: --trust DIR");
  return verdict.report.accepted() ? kExitOk : kExitRefused;
}

}  // namespace

int verify_command(const VerifyOptions& options) {
  check_options(options);
  try {
    return verify(options);
  } catch (const CannotLook& error) {
    print_error(error.what());
    return kExitCannotLook;
  }
}

}  // namespace bulkhead::cli
