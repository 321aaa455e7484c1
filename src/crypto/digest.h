// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX

namespace bulkhead {

using Sha256Digest = std::array<std::byte, 32>;

// SHA-256 (FIPS 180-4) of bytes that come in pieces.
class Sha256 {
 public:
  static Result<Sha256> create();

  Result<void> update(std::span<const std::byte> bytes);
  // The digest of everything so far. The object is used up by it.
  Result<Sha256Digest> finish() &&;

  static Result<Sha256Digest> of(std::span<const std::byte> bytes);

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  using Context = std::unique_ptr<evp_md_ctx_st, Free>;

  explicit Sha256(Context context) : context_(std::move(context)) {}

  Context context_;
};

// Lower-case hexadecimal digits.
std::string to_hex(std::span<const std::byte> bytes);
// The bytes of hexadecimal digits in either case; kMalformed for an odd number, or something else.
// Not for secrets: its time depends on the digits.
Result<std::vector<std::byte>> decode_hex(std::string_view digits);

}  // namespace bulkhead
