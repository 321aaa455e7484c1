// SPDX-License-Identifier: Apache-2.0
// The content of a key file: a key, or an error; and the same key written as digits reads the same.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/check.h"
#include "crypto/digest.h"
#include "seal/key_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bulkhead;
  const auto key = parse_key(std::as_bytes(std::span(data, size)));
  if (!key) {
    CHECK(key.error().code == Errc::kMalformed);
    return 0;
  }
  CHECK(key->size() == kPartitionKeyBytes);
  const std::string digits = to_hex(key->bytes()) + "\n";
  const auto again = parse_key(std::as_bytes(std::span(digits)));
  CHECK(again && constant_time_equal(again->bytes(), key->bytes()));
  return 0;
}
