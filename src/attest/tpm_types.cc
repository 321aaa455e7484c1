// SPDX-License-Identifier: Apache-2.0
#include "attest/tpm_types.h"

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

std::optional<HashAlgorithm> hash_algorithm(TpmAlg algorithm) {
  if (algorithm == TpmAlg::kSha256) return HashAlgorithm::kSha256;
  if (algorithm == TpmAlg::kSha384) return HashAlgorithm::kSha384;
  return std::nullopt;
}

std::size_t tpm_digest_bytes(TpmAlg algorithm) {
  switch (algorithm) {
    case TpmAlg::kSha1:
      return 20;
    case TpmAlg::kSha256:
      return 32;
    case TpmAlg::kSha384:
      return 48;
    case TpmAlg::kSha512:
      return 64;
    default:
      return 0;
  }
}

Result<std::span<const std::byte>> read_2b(ByteReader& reader, std::size_t max_bytes) {
  const auto size = TRY(reader.read_be<std::uint16_t>());
  if (size > max_bytes) return Error{Errc::kMalformed, 0, "a sized buffer is too large"};
  return reader.take(size);
}

Result<TpmAlg> read_algorithm(ByteReader& reader) {
  return TpmAlg(TRY(reader.read_be<std::uint16_t>()));
}

Result<void> expect_end(const ByteReader& reader) {
  if (reader.empty()) return {};
  return Error{Errc::kMalformed, 0, "bytes are left over behind a structure's end"};
}

}  // namespace bulkhead
