// SPDX-License-Identifier: Apache-2.0
#include "attest/quote_verifier.h"

#include <algorithm>
#include <array>

#include "attest/tpm_signature.h"
#include "measure/tpm_wire.h"

namespace bulkhead {
namespace {

constexpr std::array kAlgorithms = {
    QuoteAlgorithm{TpmAlg::kRsassa, TpmAlg::kSha256},
    QuoteAlgorithm{TpmAlg::kRsassa, TpmAlg::kSha384},
    QuoteAlgorithm{TpmAlg::kRsapss, TpmAlg::kSha256},
    QuoteAlgorithm{TpmAlg::kRsapss, TpmAlg::kSha384},
    QuoteAlgorithm{TpmAlg::kEcdsa, TpmAlg::kSha256},
    QuoteAlgorithm{TpmAlg::kEcdsa, TpmAlg::kSha384},
};

std::string hex(std::span<const std::byte> bytes) {
  return bytes.empty() ? "nothing" : to_hex(bytes);
}

std::string list(std::span<const QuoteAlgorithm> algorithms) {
  std::string text;
  for (QuoteAlgorithm algorithm : algorithms) {
    text += (text.empty() ? "" : " or ") + to_string(algorithm);
  }
  return text;
}

// Whether all that `wanted` selects is selected.
bool covers(const PcrSelections& selections, const PcrSelection& wanted) {
  const auto found = std::ranges::find(selections, wanted.bank, &PcrSelection::bank);
  const std::uint32_t selected = found == selections.end() ? 0 : found->pcrs;
  return (wanted.pcrs & ~selected) == 0;
}

// Makes the checks of one quote, one function each, and writes them down.
class QuoteJudge {
 public:
  QuoteJudge(const QuoteEvidence& evidence, const QuoteExpectation& expectation,
             const CheckSwitches& switches)
      : evidence_(evidence), expectation_(expectation), report_(switches) {}

  QuoteVerdict judge() && {
    judge_key();
    judge_algorithm();
    judge_signature();
    judge_kind();
    judge_structure();
    if (quote_) {
      judge_signer(*quote_);
      judge_nonce(*quote_);
      judge_selection(*quote_);
      judge_digest(*quote_);
    }
    return verdict();
  }

 private:
  void judge_key();
  void judge_algorithm();
  void judge_signature();
  void judge_kind();
  void judge_structure();
  void judge_signer(const TpmQuote& quote);
  void judge_nonce(const TpmQuote& quote);
  void judge_selection(const TpmQuote& quote);
  void judge_digest(const TpmQuote& quote);
  QuoteVerdict verdict();

  Result<bool> is_signed() const;
  std::span<const QuoteAlgorithm> accepted() const;

  const QuoteEvidence& evidence_;
  const QuoteExpectation& expectation_;
  Report report_;
  Result<TpmSignature> signature_ = parse_tpm_signature(evidence_.signature);
  std::optional<TpmQuote> quote_;
};

void QuoteJudge::judge_key() {
  const std::string faults = attestation_key_faults(evidence_.key);
  report_.judge(Check::kKeyAttributes, faults.empty(),
                faults.empty() ? "a restricted signing key of one TPM" : faults,
                "restricted, sign, fixedTPM, fixedParent, sensitiveDataOrigin, not decrypt");
}

std::span<const QuoteAlgorithm> QuoteJudge::accepted() const {
  return expectation_.algorithms.empty() ? quote_algorithms() : std::span(expectation_.algorithms);
}

// A restricted key has one scheme, and its TPM signs with no other.
void QuoteJudge::judge_algorithm() {
  const QuoteAlgorithm own{evidence_.key.scheme, evidence_.key.scheme_hash};
  std::string wanted = list(accepted()) + "; the key's is " + to_string(own);
  if (!signature_) {
    report_.judge(Check::kAlgorithm, false, signature_.error().what, std::move(wanted));
    return;
  }
  const QuoteAlgorithm seen{signature_->scheme, signature_->hash};
  const bool is_accepted = std::ranges::find(accepted(), seen) != accepted().end();
  report_.judge(Check::kAlgorithm, is_accepted && seen == own, to_string(seen), std::move(wanted));
}

Result<bool> QuoteJudge::is_signed() const {
  if (!signature_) return signature_.error();
  const SignatureView view = TRY(signature_view(*signature_));
  const PublicKey key = TRY(public_key(evidence_.key));
  return key.verify(view, evidence_.attest);
}

void QuoteJudge::judge_signature() {
  const Result<bool> good = is_signed();
  const char* seen = !good ? good.error().what : *good ? "a good one" : "a bad one";
  report_.judge(Check::kSignature, good && *good, seen, "a signature of the attestation key");
}

// Apart from the structure, so that an attestation of another kind is called what it is.
void QuoteJudge::judge_kind() {
  const auto kind = parse_attest_kind(evidence_.attest);
  if (!kind) {
    report_.not_reached(Check::kMagic);
    report_.not_reached(Check::kType);
    return;
  }
  report_.judge(Check::kMagic, kind->magic == kTpmGeneratedValue,
                to_hex(TpmWriter().u32(kind->magic).take()),
                to_hex(TpmWriter().u32(kTpmGeneratedValue).take()));
  report_.judge(Check::kType, kind->type == kTpmStAttestQuote,
                to_hex(TpmWriter().u16(kind->type).take()),
                to_hex(TpmWriter().u16(kTpmStAttestQuote).take()) + " (quote)");
}

void QuoteJudge::judge_structure() {
  auto quote = parse_tpm_quote(evidence_.attest);
  report_.judge(Check::kStructure, quote.has_value(), quote ? "well-formed" : quote.error().what,
                "a TPMS_ATTEST with a TPMS_QUOTE_INFO");
  if (quote) {
    quote_ = std::move(*quote);
    return;
  }
  for (Check check :
       {Check::kQualifiedSigner, Check::kNonce, Check::kPcrSelection, Check::kPcrDigest}) {
    report_.not_reached(check);
  }
}

void QuoteJudge::judge_signer(const TpmQuote& quote) {
  if (!expectation_.parent_name) {
    report_.not_applicable(Check::kQualifiedSigner, "the key's parent is not known");
    return;
  }
  const auto name = qualified_name(evidence_.key, *expectation_.parent_name);
  report_.judge(Check::kQualifiedSigner, name && *name == quote.qualified_signer,
                hex(quote.qualified_signer), name ? hex(*name) : name.error().what);
}

void QuoteJudge::judge_nonce(const TpmQuote& quote) {
  const auto& challenge = expectation_.challenge;
  if (!challenge) {
    report_.not_applicable(Check::kNonce, "no nonce was given: this quote may be a replayed one");
    return;
  }
  const auto data = qualifying_data(*challenge);
  std::string seen = hex(quote.extra_data);
  if (challenge->requester_key && quote.extra_data == challenge->nonce) {
    seen += " (the nonce, bound to no key)";
  }
  report_.judge(Check::kNonce, data && *data == quote.extra_data, std::move(seen),
                data ? hex(*data) : data.error().what);
}

void QuoteJudge::judge_selection(const TpmQuote& quote) {
  const bool all = std::ranges::all_of(expectation_.pcrs, [&](const PcrSelection& wanted) {
    return covers(quote.selections, wanted);
  });
  report_.judge(Check::kPcrSelection, all, to_string(quote.selections),
                "at least " + to_string(expectation_.pcrs));
}

// TPM 2.0 Part 3, 18.4: the digest is made with the hash function of the signature.
void QuoteJudge::judge_digest(const TpmQuote& quote) {
  const auto hash = signature_ ? strong_hash(signature_->hash) : std::nullopt;
  if (!hash) {
    report_.not_reached(Check::kPcrDigest);
    return;
  }
  const auto digest = pcr_digest(*hash, quote.selections, evidence_.pcrs);
  report_.judge(Check::kPcrDigest, digest && *digest == quote.pcr_digest, hex(quote.pcr_digest),
                digest ? hex(*digest) : digest.error().what);
}

QuoteVerdict QuoteJudge::verdict() {
  QuoteVerdict verdict{.report = std::move(report_), .quote = {}, .pcrs = {}};
  if (!verdict.report.accepted() || !quote_) return verdict;
  auto pcrs = evidence_.pcrs.selected(quote_->selections);
  if (pcrs) verdict.pcrs = std::move(*pcrs);
  verdict.quote = std::move(quote_);
  return verdict;
}

}  // namespace

std::string to_string(QuoteAlgorithm algorithm) {
  return std::string(to_string(algorithm.scheme)) + "-" + to_string(algorithm.hash);
}

std::span<const QuoteAlgorithm> quote_algorithms() {
  return kAlgorithms;
}

Result<Bytes> qualifying_data(const Challenge& challenge) {
  if (challenge.nonce.empty()) return Error{Errc::kInvalidArgument, 0, "an empty nonce"};
  if (!challenge.requester_key) return challenge.nonce;
  const Digest digest =
      TRY(Hash::of(HashAlgorithm::kSha256, {challenge.nonce, *challenge.requester_key}));
  return copy_of(digest.bytes());
}

QuoteVerdict verify_quote(const QuoteEvidence& evidence, const QuoteExpectation& expectation,
                          const CheckSwitches& switches) {
  return QuoteJudge(evidence, expectation, switches).judge();
}

}  // namespace bulkhead
