// SPDX-License-Identifier: Apache-2.0
#include <openssl/pem.h>

#include "hostca/certificate.h"
#include "hostca/openssl_x509.h"

namespace bulkhead::hostca {
namespace {

using x509::Owned;

constexpr std::string_view kBegin = "-----BEGIN CERTIFICATE-----";
constexpr std::string_view kEnd = "-----END CERTIFICATE-----";

Error not_pem() {
  return Error{Errc::kMalformed, 0, "not certificates in PEM (BEGIN CERTIFICATE) and nothing else"};
}

Result<Bytes> decode_block(std::string_view block) {
  const Owned<BIO> bio(BIO_new_mem_buf(block.data(), static_cast<int>(block.size())));
  if (bio == nullptr) return openssl_failed();
  const Owned<X509> certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr) return not_pem();
  return x509::encode(certificate.get());
}

}  // namespace

std::string to_pem(std::span<const Bytes> certificates) {
  std::string text;
  for (const Bytes& der : certificates) {
    std::string base64(der.size() / 3 * 4 + 5, '\0');
    const int length = EVP_EncodeBlock(openssl_bytes(std::as_writable_bytes(std::span(base64))),
                                       openssl_bytes(der), openssl_length(der));
    base64.resize(static_cast<std::size_t>(length));
    text.append(kBegin).append("\n");
    for (std::size_t at = 0; at < base64.size(); at += 64) {
      text.append(base64, at, 64).append("\n");
    }
    text.append(kEnd).append("\n");
  }
  return text;
}

Result<std::vector<Bytes>> read_pem(std::string_view text) {
  const x509::ErrorQueueCleaner cleaner;
  constexpr std::size_t kMaxBytes = kMaxPemCertificates * 2 * x509::kMaxCertificateBytes;
  if (text.size() > kMaxBytes) return not_pem();
  std::vector<Bytes> certificates;
  for (;;) {
    text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
    if (text.empty()) break;
    const std::size_t end = text.find(kEnd);
    if (!text.starts_with(kBegin) || end == std::string_view::npos) return not_pem();
    if (certificates.size() == kMaxPemCertificates) return not_pem();
    certificates.push_back(TRY(decode_block(text.substr(0, end + kEnd.size()))));
    text.remove_prefix(end + kEnd.size());
  }
  if (certificates.empty()) return not_pem();
  return certificates;
}

}  // namespace bulkhead::hostca
