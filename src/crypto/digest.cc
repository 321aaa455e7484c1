// SPDX-License-Identifier: Apache-2.0
#include "crypto/digest.h"

#include <openssl/evp.h>

#include <charconv>

#include "crypto/openssl_hash.h"

namespace bulkhead {
namespace {

Error failed() {
  return Error{Errc::kIo, 0, "the cryptographic library failed"};
}

}  // namespace

void Sha256::Free::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

Result<Sha256> Sha256::create() {
  const EVP_MD* function = openssl_hash(HashAlgorithm::kSha256);
  Context context(EVP_MD_CTX_new());
  if (function == nullptr || context == nullptr) return failed();
  if (EVP_DigestInit_ex(context.get(), function, nullptr) != 1) return failed();
  return Sha256(std::move(context));
}

Result<void> Sha256::update(std::span<const std::byte> bytes) {
  if (EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1) return failed();
  return {};
}

Result<Sha256Digest> Sha256::finish() && {
  Sha256Digest digest;
  unsigned length = 0;
  auto* out = reinterpret_cast<unsigned char*>(digest.data());  // OpenSSL's idea of a byte
  if (EVP_DigestFinal_ex(context_.get(), out, &length) != 1) return failed();
  if (length != digest.size()) return failed();
  return digest;
}

Result<Sha256Digest> Sha256::of(std::span<const std::byte> bytes) {
  Sha256 sha = TRY(create());
  TRY(sha.update(bytes));
  return std::move(sha).finish();
}

std::string to_hex(std::span<const std::byte> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text(bytes.size() * 2, '0');
  std::size_t written = 0;
  for (std::byte byte : bytes) {
    text[written++] = kDigits[std::to_integer<unsigned>(byte >> 4)];
    text[written++] = kDigits[std::to_integer<unsigned>(byte & std::byte{15})];
  }
  return text;
}

Result<std::vector<std::byte>> decode_hex(std::string_view digits) {
  const Error malformed{Errc::kMalformed, 0, "not hexadecimal digits in pairs"};
  if (digits.size() % 2 != 0) return malformed;
  std::vector<std::byte> bytes;
  bytes.reserve(digits.size() / 2);
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    unsigned char byte = 0;
    const char* end = digits.data() + i + 2;
    const auto [next, error] = std::from_chars(digits.data() + i, end, byte, 16);
    if (error != std::errc() || next != end) return malformed;
    bytes.push_back(std::byte{byte});
  }
  return bytes;
}

}  // namespace bulkhead
