// SPDX-License-Identifier: Apache-2.0
#include "seal/key_derivation.h"

#include <string_view>
#include <vector>

#include "crypto/kdf.h"

namespace bulkhead {

Result<SecretBytes> derive_seal_key(const SecretBytes& partition_key, const SealScope& scope,
                                    KeyRole role, std::span<const std::byte> extra) {
  if (partition_key.size() != kPartitionKeyBytes) {
    return Error{Errc::kInvalidArgument, 0, "a partition's key has 32 bytes"};
  }
  constexpr std::string_view kLabel = "bulkhead/sealed/v1";
  std::vector<std::byte> info;
  const auto append = [&info](std::span<const std::byte> bytes) {
    info.insert(info.end(), bytes.begin(), bytes.end());
  };
  append(std::as_bytes(std::span(kLabel)));
  append(std::as_bytes(std::span(&role, 1)));
  append(scope.purpose.bytes());
  append(scope.store.bytes());
  append(extra);
  return hkdf_sha256({.key = partition_key.bytes(), .salt = {}, .info = info}, 32);
}

}  // namespace bulkhead
