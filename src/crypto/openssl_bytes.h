// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <limits>
#include <span>

#include "base/check.h"
#include "base/result.h"

namespace bulkhead {

// OpenSSL's idea of a byte, and of a length.
inline unsigned char* openssl_bytes(std::span<std::byte> bytes) {
  return static_cast<unsigned char*>(static_cast<void*>(bytes.data()));
}
inline const unsigned char* openssl_bytes(std::span<const std::byte> bytes) {
  return static_cast<const unsigned char*>(static_cast<const void*>(bytes.data()));
}
inline int openssl_length(std::span<const std::byte> bytes) {
  CHECK(bytes.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()));
  return static_cast<int>(bytes.size());
}

inline Error openssl_failed() {
  return Error{Errc::kIo, 0, "the cryptographic library failed"};
}

}  // namespace bulkhead
