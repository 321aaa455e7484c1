// SPDX-License-Identifier: Apache-2.0
#include "agent/evidence_source.h"

#include "attest/certificate_judge.h"
#include "attest/tpm_attest.h"
#include "hostca/templates.h"
#include "vtpm/partition_keys.h"

namespace bulkhead::agent {
namespace {

// The guest may extend a PCR between the reading of its value and the quote, but not for ever.
constexpr int kMaxTries = 16;

Error damaged() {
  return Error{Errc::kMalformed, 0, "what the TPM has in place of certificates is none"};
}

Error not_certified() {
  return Error{Errc::kNotFound, 0,
               "this TPM's key has no certificate: the host has to be enrolled and run bulkheadd "
               "before the partition starts (log: tpm_not_certified)"};
}

// A DER element's length behind its tag, of those that certificates have.
Result<std::size_t> read_length(ByteReader& reader) {
  const auto first = TRY(reader.read_be<std::uint8_t>());
  if (first < 0x80) return std::size_t{first};
  if (first == 0x81) return std::size_t{TRY(reader.read_be<std::uint8_t>())};
  if (first == 0x82) return std::size_t{TRY(reader.read_be<std::uint16_t>())};
  return damaged();
}

Result<Bytes> read_chain(GuestTpm& tpm) {
  Bytes chain;
  for (std::uint32_t i = 0; i < vtpm::kMaxChainIndexes; ++i) {
    const auto piece = tpm.read_index(vtpm::kChainIndex + i);
    if (!piece && piece.error().code == Errc::kNotFound) break;
    if (!piece) return piece.error();
    chain.insert(chain.end(), piece->begin(), piece->end());
  }
  return chain;
}

Result<std::vector<Bytes>> read_certificates(GuestTpm& tpm) {
  auto own = tpm.read_index(vtpm::kAttestationCertificateIndex);
  if (!own && own.error().code == Errc::kNotFound) return not_certified();
  if (!own) return own.error();
  std::vector<Bytes> certificates = TRY(split_certificates(TRY(read_chain(tpm))));
  certificates.insert(certificates.begin(), std::move(*own));
  return certificates;
}

// Whether the quote is of these values.
Result<bool> fits(const Quote& quote, const PcrSelections& selected, const PcrValues& pcrs) {
  const TpmQuote said = TRY(parse_tpm_quote(quote.attest));
  return said.pcr_digest == TRY(pcr_digest(HashAlgorithm::kSha256, selected, pcrs));
}

}  // namespace

Result<std::vector<Bytes>> split_certificates(std::span<const std::byte> chain) {
  constexpr std::uint8_t kSequence = 0x30;
  std::vector<Bytes> certificates;
  ByteReader reader(chain);
  while (!reader.empty()) {
    const std::size_t start = reader.position();
    const auto tag = TRY(reader.read_be<std::uint8_t>());
    const std::size_t length = TRY(read_length(reader));
    if (tag != kSequence || length == 0 || certificates.size() == kMaxChain) return damaged();
    TRY(reader.skip(length));
    certificates.push_back(copy_of(chain.subspan(start, reader.position() - start)));
  }
  return certificates;
}

struct EvidenceSource::Loaded {
  GuestTpm tpm;
  GuestTpm::Key key;
};

void EvidenceSource::Unload::operator()(Loaded* loaded) const {
  loaded->tpm.flush(loaded->key);
  delete loaded;
}

Result<EvidenceSource> EvidenceSource::create(Tpm& tpm, Options options) {
  GuestTpm guest(tpm);
  auto key = guest.create_primary(hostca::attestation_key_template());
  if (!key) return key.error();
  EvidenceSource source(
      std::unique_ptr<Loaded, Unload>(new Loaded{.tpm = guest, .key = std::move(*key)}),
      std::move(options));
  source.certificates_ = TRY(read_certificates(guest));
  return source;
}

Result<Evidence> EvidenceSource::make(const Challenge& challenge) {
  const Bytes data = TRY(qualifying_data(challenge));
  for (int tries = 0; tries < kMaxTries; ++tries) {
    PcrValues pcrs = TRY(loaded_->tpm.read_pcrs(options_.pcrs));
    Quote quote = TRY(loaded_->tpm.quote(loaded_->key, data, options_.pcrs));
    if (!TRY(fits(quote, options_.pcrs, pcrs))) continue;
    return Evidence{.nonce = challenge.nonce,
                    .requester_key = challenge.requester_key,
                    .attest = std::move(quote.attest),
                    .signature = std::move(quote.signature),
                    .key = loaded_->key.object,
                    .pcrs = std::move(pcrs),
                    .event_log = options_.event_log,
                    .certificates = certificates_};
  }
  return Error{Errc::kBusy, 0, "PCRs change faster than they can be quoted: leave some out"};
}

}  // namespace bulkhead::agent
