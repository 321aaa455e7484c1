// SPDX-License-Identifier: Apache-2.0
#include "attest/tpm_public.h"

#include "measure/tpm_wire.h"

namespace bulkhead {
namespace {

constexpr std::size_t kMaxPolicyBytes = 64;
constexpr std::uint16_t kEccNistP256 = 0x0003;  // TPM_ECC_CURVE, TPM 2.0 Part 2, Table 10
constexpr std::uint16_t kEccNistP384 = 0x0004;

Error malformed(const char* what) {
  return Error{Errc::kMalformed, 0, what};
}
Error unsupported(const char* what) {
  return Error{Errc::kUnsupported, 0, what};
}

Result<TpmSymmetric> read_symmetric(ByteReader& reader) {
  TpmSymmetric symmetric;
  symmetric.algorithm = TRY(read_algorithm(reader));
  if (symmetric.algorithm == TpmAlg::kNull) return symmetric;
  if (symmetric.algorithm != TpmAlg::kAes) return unsupported("a storage key without AES");
  symmetric.key_bits = TRY(reader.read_be<std::uint16_t>());
  symmetric.mode = TRY(read_algorithm(reader));
  const bool known = symmetric.key_bits == 128 || symmetric.key_bits == 256;
  if (!known || symmetric.mode != TpmAlg::kCfb) return unsupported("an unusual storage key");
  return symmetric;
}

Result<void> read_scheme(ByteReader& reader, TpmPublic& object) {
  object.scheme = TRY(read_algorithm(reader));
  if (object.scheme == TpmAlg::kNull) return {};
  const bool rsa = std::holds_alternative<TpmRsaKey>(object.key);
  const bool fits = rsa ? object.scheme == TpmAlg::kRsassa || object.scheme == TpmAlg::kRsapss
                        : object.scheme == TpmAlg::kEcdsa;
  if (!fits) return unsupported("a key for a scheme other than RSASSA, RSAPSS and ECDSA");
  object.scheme_hash = TRY(read_algorithm(reader));
  if (tpm_digest_bytes(object.scheme_hash) == 0) return unsupported("a key's hash is not known");
  return {};
}

Result<TpmRsaKey> read_rsa(ByteReader& reader) {
  TpmRsaKey key;
  key.key_bits = TRY(reader.read_be<std::uint16_t>());
  if (key.key_bits != 2048 && key.key_bits != 3072)
    return unsupported("RSA keys have 2048 or 3072 bits");
  key.exponent = TRY(reader.read_be<std::uint32_t>());
  if (key.exponent != 0 && key.exponent != 65537) return unsupported("an unusual RSA exponent");
  key.modulus = copy_of(TRY(read_2b(reader, key.key_bits / 8U)));
  if (key.modulus.size() != key.key_bits / 8U) return malformed("the modulus is too short");
  return key;
}

Result<TpmEccKey> read_ecc(ByteReader& reader) {
  TpmEccKey key;
  const auto curve = TRY(reader.read_be<std::uint16_t>());
  if (curve != kEccNistP256 && curve != kEccNistP384)
    return unsupported("a curve other than P-256 and P-384");
  key.curve = curve == kEccNistP256 ? Curve::kP256 : Curve::kP384;
  if (TRY(read_algorithm(reader)) != TpmAlg::kNull) return unsupported("a key derivation scheme");
  key.x = copy_of(TRY(read_2b(reader, coordinate_bytes(key.curve))));
  key.y = copy_of(TRY(read_2b(reader, coordinate_bytes(key.curve))));
  return key;
}

void write_key(TpmWriter& writer, const TpmRsaKey& key) {
  writer.u16(key.key_bits).u32(key.exponent).sized(key.modulus);
}
void write_key(TpmWriter& writer, const TpmEccKey& key) {
  writer.u16(key.curve == Curve::kP256 ? kEccNistP256 : kEccNistP384).algorithm(TpmAlg::kNull);
  writer.sized(key.x).sized(key.y);
}

// The algorithm's number, and the digest of both.
Result<Bytes> tagged_digest(TpmAlg algorithm, std::span<const std::byte> first,
                            std::span<const std::byte> second) {
  const auto hash = strong_hash(algorithm);
  if (!hash) return unsupported("names are of SHA-256 or SHA-384");
  const Digest digest = TRY(Hash::of(*hash, {first, second}));
  return TpmWriter().algorithm(algorithm).raw(digest.bytes()).take();
}

}  // namespace

Result<TpmPublic> parse_tpm2b_public(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  const auto inside = TRY(read_2b(reader, bytes.size()));
  TRY(expect_end(reader));
  return parse_tpmt_public(inside);
}

Result<TpmPublic> parse_tpmt_public(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  TpmPublic object;
  const TpmAlg type = TRY(read_algorithm(reader));
  if (type != TpmAlg::kRsa && type != TpmAlg::kEcc)
    return unsupported("a key that is neither RSA nor ECC");
  if (type == TpmAlg::kEcc) object.key = TpmEccKey{};
  object.name_algorithm = TRY(read_algorithm(reader));
  if (!strong_hash(object.name_algorithm)) return unsupported("names are of SHA-256 or SHA-384");
  object.attributes = TRY(reader.read_be<std::uint32_t>());
  if ((object.attributes & ~tpma_object::kAll) != 0)
    return malformed("reserved attributes are set");
  object.auth_policy = copy_of(TRY(read_2b(reader, kMaxPolicyBytes)));
  object.symmetric = TRY(read_symmetric(reader));
  TRY(read_scheme(reader, object));
  if (type == TpmAlg::kRsa) {
    object.key = TRY(read_rsa(reader));
  } else {
    object.key = TRY(read_ecc(reader));
  }
  TRY(expect_end(reader));
  return object;
}

Bytes serialize(const TpmPublic& object) {
  TpmWriter writer;
  const bool rsa = std::holds_alternative<TpmRsaKey>(object.key);
  writer.algorithm(rsa ? TpmAlg::kRsa : TpmAlg::kEcc).algorithm(object.name_algorithm);
  writer.u32(object.attributes).sized(object.auth_policy).algorithm(object.symmetric.algorithm);
  if (object.symmetric.algorithm != TpmAlg::kNull) {
    writer.u16(object.symmetric.key_bits).algorithm(object.symmetric.mode);
  }
  writer.algorithm(object.scheme);
  if (object.scheme != TpmAlg::kNull) writer.algorithm(object.scheme_hash);
  std::visit([&](const auto& key) { write_key(writer, key); }, object.key);
  return std::move(writer).take();
}

Result<PublicKey> public_key(const TpmPublic& object) {
  if (const auto* rsa = std::get_if<TpmRsaKey>(&object.key)) {
    return PublicKey::create(PublicKey::Rsa{.modulus = rsa->modulus, .exponent = 65537});
  }
  const auto* ecc = std::get_if<TpmEccKey>(&object.key);
  CHECK(ecc != nullptr);
  return PublicKey::create(PublicKey::Point{.curve = ecc->curve, .x = ecc->x, .y = ecc->y});
}

Result<Bytes> tpm_name(const TpmPublic& object) {
  return tagged_digest(object.name_algorithm, serialize(object), {});
}

Result<Bytes> qualified_name(const TpmPublic& object, std::span<const std::byte> parent) {
  const Bytes name = TRY(tpm_name(object));
  return tagged_digest(object.name_algorithm, parent, name);
}

Bytes endorsement_hierarchy() {
  constexpr std::uint32_t kTpmRhEndorsement = 0x4000000b;
  return TpmWriter().u32(kTpmRhEndorsement).take();
}

std::string attestation_key_faults(const TpmPublic& object) {
  struct Rule {
    std::uint32_t attribute;
    bool wanted;
    const char* name;
  };
  constexpr Rule kRules[] = {
      {tpma_object::kRestricted, true, "restricted"},
      {tpma_object::kSign, true, "sign"},
      {tpma_object::kFixedTpm, true, "fixedTPM"},
      {tpma_object::kFixedParent, true, "fixedParent"},
      {tpma_object::kSensitiveDataOrigin, true, "sensitiveDataOrigin"},
      {tpma_object::kDecrypt, false, "decrypt"},
  };
  std::string faults;
  for (const Rule& rule : kRules) {
    if (((object.attributes & rule.attribute) != 0) == rule.wanted) continue;
    if (!faults.empty()) faults += ", ";
    faults += std::string(rule.wanted ? "not " : "") + rule.name;
  }
  return faults;
}

}  // namespace bulkhead
