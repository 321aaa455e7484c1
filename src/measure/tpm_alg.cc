// SPDX-License-Identifier: Apache-2.0
#include "measure/tpm_alg.h"

namespace bulkhead {

const char* to_string(TpmAlg algorithm) {
  switch (algorithm) {
    case TpmAlg::kRsa:
      return "rsa";
    case TpmAlg::kSha1:
      return "sha1";
    case TpmAlg::kAes:
      return "aes";
    case TpmAlg::kSha256:
      return "sha256";
    case TpmAlg::kSha384:
      return "sha384";
    case TpmAlg::kSha512:
      return "sha512";
    case TpmAlg::kNull:
      return "null";
    case TpmAlg::kRsassa:
      return "rsassa";
    case TpmAlg::kRsapss:
      return "rsapss";
    case TpmAlg::kEcdsa:
      return "ecdsa";
    case TpmAlg::kEcc:
      return "ecc";
    case TpmAlg::kCfb:
      return "cfb";
  }
  return "unknown";
}

TpmAlg to_tpm(HashAlgorithm algorithm) {
  constexpr TpmAlg kIds[] = {TpmAlg::kSha1, TpmAlg::kSha256, TpmAlg::kSha384, TpmAlg::kSha512};
  return kIds[static_cast<std::size_t>(algorithm)];
}

std::optional<HashAlgorithm> from_tpm(TpmAlg algorithm) {
  switch (algorithm) {
    case TpmAlg::kSha1:
      return HashAlgorithm::kSha1;
    case TpmAlg::kSha256:
      return HashAlgorithm::kSha256;
    case TpmAlg::kSha384:
      return HashAlgorithm::kSha384;
    case TpmAlg::kSha512:
      return HashAlgorithm::kSha512;
    default:
      return std::nullopt;
  }
}

std::optional<HashAlgorithm> strong_hash(TpmAlg algorithm) {
  const bool strong = algorithm == TpmAlg::kSha256 || algorithm == TpmAlg::kSha384;
  return strong ? from_tpm(algorithm) : std::nullopt;
}

std::size_t tpm_digest_bytes(TpmAlg algorithm) {
  const auto hash = from_tpm(algorithm);
  return hash ? digest_bytes(*hash) : 0;
}

}  // namespace bulkhead
