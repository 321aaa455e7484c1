// SPDX-License-Identifier: Apache-2.0
#include "attest/plain_extensions.h"

#include <algorithm>
#include <array>

namespace bulkhead {
namespace {

// RFC 5280, 4.2.1.3: bits of the first byte.
constexpr unsigned kDigitalSignature = 0x80;
constexpr unsigned kKeyCertSign = 0x04;
constexpr unsigned kCrlSign = 0x02;

// Reads the extensions of one certificate.
class ExtensionReader {
 public:
  Result<PlainExtensions> read(DerReader extensions);

 private:
  Result<void> read_one(DerReader extension);
  Result<void> read_basic_constraints(Part value);
  Result<void> read_key_usage(Part value);
  Result<void> read_extended_key_usage(Part value);
  Result<void> read_subject_key_id(Part value);
  Result<void> read_authority_key_id(Part value);
  Result<void> read_host_identity(Part value);

  struct Extension {
    std::span<const unsigned char> type;  // content of its OBJECT IDENTIFIER
    bool critical;
    bool needed;
    Result<void> (ExtensionReader::*read)(Part);
  };
  static const std::array<Extension, 6> kExtensions;

  PlainExtensions made_;
  unsigned seen_ = 0;  // bits: which of kExtensions
};

constexpr unsigned char kBasicConstraints[] = {0x55, 0x1d, 0x13};
constexpr unsigned char kKeyUsage[] = {0x55, 0x1d, 0x0f};
constexpr unsigned char kExtendedKeyUsage[] = {0x55, 0x1d, 0x25};
constexpr unsigned char kSubjectKeyId[] = {0x55, 0x1d, 0x0e};
constexpr unsigned char kAuthorityKeyId[] = {0x55, 0x1d, 0x23};

constexpr std::array<ExtensionReader::Extension, 6> ExtensionReader::kExtensions = {{
    {kBasicConstraints, true, true, &ExtensionReader::read_basic_constraints},
    {kKeyUsage, true, true, &ExtensionReader::read_key_usage},
    {kExtendedKeyUsage, false, false, &ExtensionReader::read_extended_key_usage},
    {kSubjectKeyId, false, true, &ExtensionReader::read_subject_key_id},
    {kAuthorityKeyId, false, false, &ExtensionReader::read_authority_key_id},
    {kHostIdentityOid, false, false, &ExtensionReader::read_host_identity},
}};

Result<PlainExtensions> ExtensionReader::read(DerReader extensions) {
  while (!extensions.empty()) TRY(read_one(TRY(extensions.enter(DerTag::kSequence))));
  for (std::size_t i = 0; i < kExtensions.size(); ++i) {
    if (kExtensions[i].needed && (seen_ >> i & 1) == 0) return not_plain();
  }
  return made_;
}

// Each kind once, so that the loop above ends soon.
Result<void> ExtensionReader::read_one(DerReader extension) {
  const Part type = TRY(extension.take(DerTag::kObjectIdentifier));
  const auto found = std::ranges::find_if(
      kExtensions, [type](const Extension& known) { return equals(type, known.type); });
  if (found == kExtensions.end()) return not_plain();
  const unsigned bit = 1U << (found - kExtensions.begin());
  if ((seen_ & bit) != 0) return not_plain();
  seen_ |= bit;
  const bool says_critical = extension.is_next(DerTag::kBoolean);
  if (says_critical != found->critical) return not_plain();
  if (says_critical) {
    constexpr unsigned char kTrue[] = {0xff};
    if (!equals(TRY(extension.take(DerTag::kBoolean)), kTrue)) return not_plain();
  }
  const Part value = TRY(extension.take(DerTag::kOctetString));
  TRY(extension.expect_end());
  return (this->*found->read)(value);
}

// RFC 5280, 4.2.1.9. FALSE is the default, which DER leaves out.
Result<void> ExtensionReader::read_basic_constraints(Part value) {
  DerReader whole(value);
  DerReader fields = TRY(whole.enter(DerTag::kSequence));
  TRY(whole.expect_end());
  if (fields.empty()) return {};
  constexpr unsigned char kTrue[] = {0xff};
  if (!equals(TRY(fields.take(DerTag::kBoolean)), kTrue)) return not_plain();
  made_.is_ca = true;
  if (fields.empty()) return {};
  const Part length = TRY(fields.take_unsigned());
  if (length.size() != 1) return not_plain();
  made_.path_length = std::to_integer<unsigned>(length[0]);
  return fields.expect_end();
}

// RFC 5280, 4.2.1.3: a named bit list of up to nine bits, of which the last one is not used here.
Result<void> ExtensionReader::read_key_usage(Part value) {
  DerReader whole(value);
  const Part bits = TRY(whole.take(DerTag::kBitString));
  TRY(whole.expect_end());
  if (bits.size() != 2) return not_plain();
  const auto unused = std::to_integer<unsigned>(bits[0]);
  made_.key_usage = std::to_integer<unsigned>(bits[1]);
  if (unused > 7 || made_.key_usage == 0) return not_plain();
  if ((made_.key_usage & ((1U << unused) - 1)) != 0) return not_plain();
  return {};
}

Result<void> ExtensionReader::read_extended_key_usage(Part value) {
  if (!equals(value, kAttestationKeyUsage)) return not_plain();
  made_.is_for_attestation_keys = true;
  return {};
}

Result<void> ExtensionReader::read_subject_key_id(Part value) {
  DerReader whole(value);
  made_.subject_key_id = TRY(whole.take(DerTag::kOctetString));
  if (made_.subject_key_id.empty()) return not_plain();
  return whole.expect_end();
}

// RFC 5280, 4.2.1.1, with a keyIdentifier only.
Result<void> ExtensionReader::read_authority_key_id(Part value) {
  DerReader whole(value);
  DerReader fields = TRY(whole.enter(DerTag::kSequence));
  TRY(whole.expect_end());
  made_.authority_key_id = TRY(fields.take(DerTag::kContext0));
  if (made_.authority_key_id.empty()) return not_plain();
  return fields.expect_end();
}

Result<void> ExtensionReader::read_host_identity(Part value) {
  if (value.empty()) return not_plain();
  made_.host_identity = value;
  return {};
}

}  // namespace

Result<PlainExtensions> PlainExtensions::parse(DerReader extensions) {
  return ExtensionReader().read(extensions);
}

bool PlainExtensions::are_good_as(CertificateRole role) const {
  if (role == CertificateRole::kAttestationKey) {
    return !is_ca && key_usage == kDigitalSignature && is_for_attestation_keys &&
           host_identity.empty();
  }
  if (!is_ca || (key_usage & kKeyCertSign) == 0 || is_for_attestation_keys) return false;
  if (role == CertificateRole::kAuthority) return host_identity.empty();
  return path_length == 0U && (key_usage & ~(kKeyCertSign | kCrlSign)) == 0;
}

}  // namespace bulkhead
