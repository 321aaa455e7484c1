// SPDX-License-Identifier: Apache-2.0
#include "attest/plain_evidence.h"

#include <algorithm>
#include <array>

#include "base/base64.h"

namespace bulkhead {
namespace {

Error not_plain() {
  return Error{Errc::kUnsupported, 0, "not evidence of the plain form"};
}

// Reads JSON (RFC 8259) of objects, arrays and strings, forwards.
class PlainJson {
 public:
  explicit PlainJson(std::string_view text) : text_(text) {}

  // Passes over this character, and what space is before it.
  bool take(char wanted) {
    skip_space();
    if (text_.empty() || text_[0] != wanted) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool is_at_end() {
    skip_space();
    return text_.empty();
  }

  // What is between quotes, as it stands there. Whoever uses it must compare it with something, or
  // decode it from an alphabet, that has neither backslashes nor anything beyond printable ASCII:
  // then it is a string of JSON that means itself.
  Result<std::string_view> raw_string() {
    if (!take('"')) return not_plain();
    const std::size_t end = text_.find('"');
    if (end == std::string_view::npos) return not_plain();
    const std::string_view raw = text_.substr(0, end);
    text_.remove_prefix(end + 1);
    return raw;
  }

  // An object, of whose members `read` takes the values; it must refuse a name that comes twice.
  template <class Read>
  Result<void> object(Read read) {
    if (!take('{')) return not_plain();
    if (take('}')) return {};
    do {
      const std::string_view name = TRY(raw_string());
      if (!take(':')) return not_plain();
      TRY(read(name));
    } while (take(','));
    return take('}') ? Result<void>() : not_plain();
  }

  template <class Read>
  Result<void> array(Read read) {
    if (!take('[')) return not_plain();
    if (take(']')) return {};
    do {
      TRY(read());
    } while (take(','));
    return take(']') ? Result<void>() : not_plain();
  }

 private:
  void skip_space() {
    const std::size_t first = text_.find_first_not_of(" \t\n\r");
    text_.remove_prefix(std::min(first, text_.size()));
  }

  std::string_view text_;
};

class EvidenceReader {
 public:
  explicit EvidenceReader(std::string_view text) : json_(text) {}

  Result<Evidence> read();

 private:
  struct Member {
    std::string_view name;
    bool needed;
    Result<void> (EvidenceReader::*read)();
  };
  static const std::array<Member, 7> kMembers;
  static const std::array<Member, 3> kQuoteMembers;

  Result<void> members(std::span<const Member> known);
  Result<Bytes> bytes(ByteLimits limits);
  Result<void> profile();
  Result<void> nonce();
  Result<void> requester_key();
  Result<void> quote();
  Result<void> attest();
  Result<void> signature();
  Result<void> key();
  Result<void> pcrs();
  Result<void> pcr(TpmAlg bank, std::string_view name);
  Result<void> event_log();
  Result<void> certificates();
  Result<void> certificate();

  PlainJson json_;
  Evidence evidence_;
};

constexpr std::array<EvidenceReader::Member, 7> EvidenceReader::kMembers = {{
    {"eat_profile", true, &EvidenceReader::profile},
    {"eat_nonce", true, &EvidenceReader::nonce},
    {"requester_key", false, &EvidenceReader::requester_key},
    {"quote", true, &EvidenceReader::quote},
    {"pcrs", true, &EvidenceReader::pcrs},
    {"event_log", true, &EvidenceReader::event_log},
    {"certificates", true, &EvidenceReader::certificates},
}};

constexpr std::array<EvidenceReader::Member, 3> EvidenceReader::kQuoteMembers = {{
    {"attest", true, &EvidenceReader::attest},
    {"signature", true, &EvidenceReader::signature},
    {"key", true, &EvidenceReader::key},
}};

Result<Evidence> EvidenceReader::read() {
  TRY(members(kMembers));
  if (!json_.is_at_end()) return not_plain();
  return std::move(evidence_);
}

// An object of these members, in any order, each at most once.
Result<void> EvidenceReader::members(std::span<const Member> known) {
  unsigned seen = 0;
  TRY(json_.object([&](std::string_view name) -> Result<void> {
    const auto found = std::ranges::find(known, name, &Member::name);
    if (found == known.end()) return not_plain();
    const unsigned bit = 1U << (found - known.begin());
    if ((seen & bit) != 0) return not_plain();
    seen |= bit;
    return (this->*found->read)();
  }));
  for (std::size_t i = 0; i < known.size(); ++i) {
    if (known[i].needed && (seen >> i & 1) == 0) return not_plain();
  }
  return {};
}

Result<Bytes> EvidenceReader::bytes(ByteLimits limits) {
  Bytes decoded = TRY(decode_base64(Base64::kUrl, TRY(json_.raw_string())));
  if (!limits.allow(decoded.size())) return not_plain();
  return decoded;
}

Result<void> EvidenceReader::profile() {
  if (TRY(json_.raw_string()) != kEvidenceProfile) return not_plain();
  return {};
}

Result<void> EvidenceReader::nonce() {
  evidence_.nonce = TRY(bytes(kNonceLimits));
  return {};
}

Result<void> EvidenceReader::requester_key() {
  const Bytes digest = TRY(bytes(kDigestLimits));
  std::ranges::copy(digest, evidence_.requester_key.emplace().begin());
  return {};
}

Result<void> EvidenceReader::quote() {
  return members(kQuoteMembers);
}

Result<void> EvidenceReader::attest() {
  evidence_.attest = TRY(bytes(kQuoteLimits));
  return {};
}

Result<void> EvidenceReader::signature() {
  evidence_.signature = TRY(bytes(kQuoteLimits));
  return {};
}

Result<void> EvidenceReader::key() {
  evidence_.key = TRY(parse_tpm2b_public(TRY(bytes(kKeyLimits))));
  return {};
}

Result<void> EvidenceReader::pcrs() {
  unsigned seen = 0;  // which banks
  return json_.object([&](std::string_view name) -> Result<void> {
    constexpr TpmAlg kBanks[] = {TpmAlg::kSha1, TpmAlg::kSha256, TpmAlg::kSha384, TpmAlg::kSha512};
    const auto* const bank =
        std::ranges::find_if(kBanks, [name](TpmAlg one) { return name == to_string(one); });
    if (bank == std::end(kBanks)) return not_plain();
    const unsigned bit = 1U << (bank - kBanks);
    if ((seen & bit) != 0) return not_plain();
    seen |= bit;
    return json_.object([&](std::string_view index) { return pcr(*bank, index); });
  });
}

// The name is a number of one or two digits, without a needless zero. PcrValues refuses one that
// comes twice, or is too large.
Result<void> EvidenceReader::pcr(TpmAlg bank, std::string_view name) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (name.empty() || name.size() > 2 || !std::ranges::all_of(name, is_digit)) return not_plain();
  if (name.size() == 2 && name[0] == '0') return not_plain();
  unsigned index = 0;
  for (const char c : name) index = index * 10 + static_cast<unsigned>(c - '0');
  return evidence_.pcrs.set({bank, index}, TRY(decode_hex(TRY(json_.raw_string()))));
}

Result<void> EvidenceReader::event_log() {
  evidence_.event_log = TRY(bytes(kAnyLimits));
  return {};
}

Result<void> EvidenceReader::certificates() {
  return json_.array([&] { return certificate(); });
}

Result<void> EvidenceReader::certificate() {
  if (evidence_.certificates.size() == kMaxShownCertificates) return not_plain();
  evidence_.certificates.push_back(TRY(bytes(kAnyLimits)));
  return {};
}

}  // namespace

Result<Evidence> parse_plain_evidence(std::string_view text) {
  if (text.size() > kMaxEvidenceBytes) return not_plain();
  return EvidenceReader(text).read();
}

}  // namespace bulkhead
