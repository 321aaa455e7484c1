// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <variant>

#include "crypto/public_key.h"
#include "measure/tpm_wire.h"

namespace bulkhead {

// TPMA_OBJECT, TPM 2.0 Part 2, 8.3.
namespace tpma_object {
inline constexpr std::uint32_t kFixedTpm = 1U << 1;
inline constexpr std::uint32_t kStClear = 1U << 2;
inline constexpr std::uint32_t kFixedParent = 1U << 4;
inline constexpr std::uint32_t kSensitiveDataOrigin = 1U << 5;
inline constexpr std::uint32_t kUserWithAuth = 1U << 6;
inline constexpr std::uint32_t kAdminWithPolicy = 1U << 7;
inline constexpr std::uint32_t kFirmwareLimited = 1U << 8;
inline constexpr std::uint32_t kSvnLimited = 1U << 9;
inline constexpr std::uint32_t kNoDa = 1U << 10;
inline constexpr std::uint32_t kEncryptedDuplication = 1U << 11;
inline constexpr std::uint32_t kRestricted = 1U << 16;
inline constexpr std::uint32_t kDecrypt = 1U << 17;
inline constexpr std::uint32_t kSign = 1U << 18;
inline constexpr std::uint32_t kX509Sign = 1U << 19;
inline constexpr std::uint32_t kAll = kFixedTpm | kStClear | kFixedParent | kSensitiveDataOrigin |
                                      kUserWithAuth | kAdminWithPolicy | kFirmwareLimited |
                                      kSvnLimited | kNoDa | kEncryptedDuplication | kRestricted |
                                      kDecrypt | kSign | kX509Sign;
}  // namespace tpma_object

// TPMT_SYM_DEF_OBJECT: how a storage key protects its children.
struct TpmSymmetric {
  TpmAlg algorithm = TpmAlg::kNull;  // kNull: not a storage key; kAes
  std::uint16_t key_bits = 0;
  TpmAlg mode = TpmAlg::kNull;

  bool operator==(const TpmSymmetric&) const = default;
};

struct TpmRsaKey {
  std::uint16_t key_bits = 0;  // 2048 or 3072
  std::uint32_t exponent = 0;  // 0 stands for 65537
  Bytes modulus;

  bool operator==(const TpmRsaKey&) const = default;
};

struct TpmEccKey {
  Curve curve = Curve::kP256;
  Bytes x;
  Bytes y;

  bool operator==(const TpmEccKey&) const = default;
};

// TPMT_PUBLIC, TPM 2.0 Part 2, 12.2.4, of attestation keys and of their parents.
struct TpmPublic {
  TpmAlg name_algorithm = TpmAlg::kSha256;
  std::uint32_t attributes = 0;
  Bytes auth_policy;
  TpmSymmetric symmetric;
  TpmAlg scheme = TpmAlg::kNull;  // kNull, kRsassa, kRsapss, kEcdsa
  TpmAlg scheme_hash = TpmAlg::kNull;
  std::variant<TpmRsaKey, TpmEccKey> key;

  bool operator==(const TpmPublic&) const = default;
};

// From a TPM2B_PUBLIC, whose size must be right, or from what is inside of one.
Result<TpmPublic> parse_tpm2b_public(std::span<const std::byte> bytes);
Result<TpmPublic> parse_tpmt_public(std::span<const std::byte> bytes);

// The TPMT_PUBLIC again: byte for byte what was parsed.
Bytes serialize(const TpmPublic& object);

Result<PublicKey> public_key(const TpmPublic& object);

// The object's Name, TPM 2.0 Part 1, 16: its hash function, and its digest.
Result<Bytes> tpm_name(const TpmPublic& object);

// The Qualified Name of an object whose parent has this qualified name, TPM 2.0 Part 1, 16. That of
// a hierarchy is its handle.
Result<Bytes> qualified_name(const TpmPublic& object, std::span<const std::byte> parent);

// The qualified name of the hierarchy that endorsement keys are primary keys of.
Bytes endorsement_hierarchy();

// What is wrong with the object as an attestation key; empty if nothing is. Only such a key signs
// nothing that looks like a quote but is none, and exists in one TPM only.
std::string attestation_key_faults(const TpmPublic& object);

}  // namespace bulkhead
