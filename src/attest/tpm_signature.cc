// SPDX-License-Identifier: Apache-2.0
#include "attest/tpm_signature.h"

namespace bulkhead {
namespace {

constexpr std::size_t kMaxRsaBytes = 512;        // MAX_RSA_KEY_BYTES of a TPM with RSA-4096
constexpr std::size_t kMaxCoordinateBytes = 66;  // P-521

Result<SignatureScheme> scheme_of(TpmAlg algorithm) {
  if (algorithm == TpmAlg::kRsassa) return SignatureScheme::kRsaPkcs1;
  if (algorithm == TpmAlg::kRsapss) return SignatureScheme::kRsaPss;
  if (algorithm == TpmAlg::kEcdsa) return SignatureScheme::kEcdsa;
  return Error{Errc::kUnsupported, 0, "a signature scheme other than RSASSA, RSAPSS and ECDSA"};
}

}  // namespace

Result<TpmSignature> parse_tpm_signature(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  TpmSignature signature;
  signature.scheme = TRY(read_algorithm(reader));
  TRY(scheme_of(signature.scheme));
  signature.hash = TRY(read_algorithm(reader));
  if (tpm_digest_bytes(signature.hash) == 0) {
    return Error{Errc::kUnsupported, 0, "a signature's hash function is not known"};
  }
  if (signature.scheme == TpmAlg::kEcdsa) {
    signature.first = copy_of(TRY(read_2b(reader, kMaxCoordinateBytes)));
    signature.second = copy_of(TRY(read_2b(reader, kMaxCoordinateBytes)));
  } else {
    signature.first = copy_of(TRY(read_2b(reader, kMaxRsaBytes)));
  }
  TRY(expect_end(reader));
  return signature;
}

Result<SignatureView> signature_view(const TpmSignature& signature) {
  const auto hash = strong_hash(signature.hash);
  if (!hash) return Error{Errc::kUnsupported, 0, "signatures count with SHA-256 and SHA-384 only"};
  return SignatureView{.scheme = TRY(scheme_of(signature.scheme)),
                       .hash = *hash,
                       .first = signature.first,
                       .second = signature.second};
}

}  // namespace bulkhead
