// SPDX-License-Identifier: Apache-2.0
// What a TPM says, from whoever passes it on: quotes, signatures, public keys. Each is refused, or
// is byte for byte what its value is written as again; and no verdict comes from a made-up quote.
//
// The first byte chooses. For a verdict, the rest is cut by two sizes of 16 bits: the public key,
// the signature, the quote.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "attest/encode_for_test.h"
#include "attest/quote_verifier.h"
#include "base/check.h"

namespace bulkhead {
namespace {

void check_same(std::span<const std::byte> bytes, const Bytes& again) {
  CHECK(std::ranges::equal(bytes, again));
}

void fuzz_public(std::span<const std::byte> bytes) {
  const auto object = parse_tpmt_public(bytes);
  if (!object) return;
  check_same(bytes, serialize(*object));
  CHECK(tpm_name(*object).has_value());
  static_cast<void>(public_key(*object));
  static_cast<void>(attestation_key_faults(*object));
}

void fuzz_verdict(ByteReader input) {
  const auto key_size = input.read<std::uint16_t>();
  const auto signature_size = input.read<std::uint16_t>();
  if (!key_size || !signature_size) return;
  const auto key_bytes = input.take(*key_size);
  const auto signature = input.take(*signature_size);
  if (!key_bytes || !signature) return;
  const auto key = parse_tpmt_public(*key_bytes);
  const auto attest = input.take(input.remaining());
  if (!key || !attest) return;
  QuoteExpectation expectation;
  expectation.challenge = Challenge{Bytes(20), {}};
  expectation.parent_name = endorsement_hierarchy();
  expectation.pcrs = {{TpmAlg::kSha256, 1}};
  const PcrValues none;
  const QuoteVerdict verdict = verify_quote(
      {.attest = *attest, .signature = *signature, .key = *key, .pcrs = none}, expectation);
  CHECK(verdict.report.findings().size() == 10);
  // PCR 0 has no value here: nothing can be right.
  CHECK(!verdict.report.accepted() && !verdict.quote);
  for (const Finding& finding : verdict.report.findings()) CHECK(!to_line(finding).empty());
}

}  // namespace
}  // namespace bulkhead

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bulkhead;
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data + 1, size - 1));
  switch (data[0] % 4) {
    case 0:
      if (const auto quote = parse_tpm_quote(bytes)) check_same(bytes, encode(*quote));
      break;
    case 1:
      if (const auto signature = parse_tpm_signature(bytes)) check_same(bytes, encode(*signature));
      break;
    case 2:
      fuzz_public(bytes);
      break;
    default:
      fuzz_verdict(ByteReader(bytes));
      break;
  }
  return 0;
}
