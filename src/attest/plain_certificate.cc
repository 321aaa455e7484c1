// SPDX-License-Identifier: Apache-2.0
#include "attest/plain_certificate.h"

#include <algorithm>
#include <string>

#include "attest/der_reader.h"
#include "attest/key_info.h"

namespace bulkhead {
namespace {

constexpr std::size_t kMaxSerialBytes = 20;

// Elements with one form only, as a whole.
constexpr unsigned char kVersion3[] = {0x02, 0x01, 0x02};
constexpr unsigned char kEcdsaWithSha256[] = {0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86,
                                              0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};
constexpr unsigned char kEcdsaWithSha384[] = {0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86,
                                              0x48, 0xce, 0x3d, 0x04, 0x03, 0x03};
constexpr unsigned char kEcdsaWithSha512[] = {0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86,
                                              0x48, 0xce, 0x3d, 0x04, 0x03, 0x04};

// Reads one certificate, part by part, in the order of RFC 5280, 4.1.
class CertificateReader {
 public:
  Result<PlainCertificate> read(Part der);

 private:
  Result<void> read_signed_part(DerReader fields);
  Result<void> read_serial(DerReader& fields);
  Result<void> read_hash(Part algorithm);
  Result<void> read_signature(Part value);

  PlainCertificate made_;
  Part algorithm_;  // of the signature, as the signed part has it
};

bool is_printable(Part text) {
  return !text.empty() && std::ranges::all_of(text, [](std::byte letter) {
    return letter >= std::byte{' '} && letter <= std::byte{'~'};
  });
}

// A Name of at least one attribute, each by itself. Nobody reads what it says, but OpenSSL refuses
// some that are malformed.
Result<Part> take_name(DerReader& fields) {
  const Part whole = TRY(fields.take_whole(DerTag::kSequence));
  DerReader names = TRY(DerReader(whole).enter(DerTag::kSequence));
  if (names.empty()) return not_plain();
  while (!names.empty()) {
    DerReader set = TRY(names.enter(DerTag::kSet));
    DerReader attribute = TRY(set.enter(DerTag::kSequence));
    TRY(set.expect_end());
    if (!is_object_identifier(TRY(attribute.take(DerTag::kObjectIdentifier)))) return not_plain();
    const DerTag kind =
        attribute.is_next(DerTag::kUtf8String) ? DerTag::kUtf8String : DerTag::kPrintableString;
    if (!is_printable(TRY(attribute.take(kind)))) return not_plain();
    TRY(attribute.expect_end());
  }
  return whole;
}

// RFC 5280, 4.1.2.5: UTCTime has two digits of a year from 1950 to 2049.
Result<UtcTime> take_time(DerReader& fields) {
  const bool is_short = fields.is_next(DerTag::kUtcTime);
  const Part content = TRY(fields.take(is_short ? DerTag::kUtcTime : DerTag::kGeneralizedTime));
  std::string digits;
  for (std::byte letter : content) digits += static_cast<char>(letter);
  if (digits.size() != (is_short ? 13U : 15U)) return not_plain();
  if (is_short) digits.insert(0, digits[0] < '5' ? "20" : "19");
  const auto part = [&](std::size_t offset) { return digits.substr(offset, 2); };
  const auto time = parse_utc_time(digits.substr(0, 4) + "-" + part(4) + "-" + part(6) + "T" +
                                   part(8) + ":" + part(10) + ":" + part(12) + digits.back());
  if (!time) return not_plain();
  return *time;
}

Result<PlainCertificate> CertificateReader::read(Part der) {
  if (der.size() > kMaxCertificateBytes) return not_plain();
  made_.whole = der;
  DerReader outer(der);
  DerReader certificate = TRY(outer.enter(DerTag::kSequence));
  TRY(outer.expect_end());
  made_.signed_part = TRY(certificate.take_whole(DerTag::kSequence));
  TRY(read_signed_part(TRY(DerReader(made_.signed_part).enter(DerTag::kSequence))));
  // RFC 5280, 4.1.1.2: the same as inside, where the signature covers it.
  if (!std::ranges::equal(TRY(certificate.take_whole(DerTag::kSequence)), algorithm_)) {
    return not_plain();
  }
  TRY(read_signature(TRY(certificate.take_octets_of_bits())));
  TRY(certificate.expect_end());
  return made_;
}

Result<void> CertificateReader::read_signed_part(DerReader fields) {
  if (!equals(TRY(fields.take(DerTag::kContext0Explicit)), kVersion3)) return not_plain();
  TRY(read_serial(fields));
  algorithm_ = TRY(fields.take_whole(DerTag::kSequence));
  TRY(read_hash(algorithm_));
  made_.issuer = TRY(take_name(fields));
  DerReader validity = TRY(fields.enter(DerTag::kSequence));
  made_.validity.not_before = TRY(take_time(validity));
  made_.validity.not_after = TRY(take_time(validity));
  TRY(validity.expect_end());
  made_.subject = TRY(take_name(fields));
  made_.key_info = TRY(fields.take_whole(DerTag::kSequence));
  DerReader tagged = TRY(fields.enter(DerTag::kContext3Explicit));
  made_.extensions = TRY(PlainExtensions::parse(TRY(tagged.enter(DerTag::kSequence))));
  TRY(tagged.expect_end());
  return fields.expect_end();
}

Result<void> CertificateReader::read_serial(DerReader& fields) {
  const Part serial = TRY(fields.take_unsigned());
  const bool is_zero = serial.size() == 1 && serial[0] == std::byte{0};
  if (is_zero || serial.size() > kMaxSerialBytes) return not_plain();
  return {};
}

Result<void> CertificateReader::read_hash(Part algorithm) {
  if (equals(algorithm, kEcdsaWithSha256)) {
    made_.hash = HashAlgorithm::kSha256;
  } else if (equals(algorithm, kEcdsaWithSha384)) {
    made_.hash = HashAlgorithm::kSha384;
  } else if (equals(algorithm, kEcdsaWithSha512)) {
    made_.hash = HashAlgorithm::kSha512;
  } else {
    return not_plain();
  }
  return {};
}

// Ecdsa-Sig-Value: RFC 5480, appendix A.
Result<void> CertificateReader::read_signature(Part value) {
  DerReader whole(value);
  DerReader numbers = TRY(whole.enter(DerTag::kSequence));
  TRY(whole.expect_end());
  made_.r = TRY(numbers.take_unsigned());
  made_.s = TRY(numbers.take_unsigned());
  return numbers.expect_end();
}

}  // namespace

Result<PlainCertificate> PlainCertificate::parse(std::span<const std::byte> der) {
  return CertificateReader().read(der);
}

Result<PublicKey> PlainCertificate::public_key() const {
  DerReader fields = TRY(DerReader(key_info).enter(DerTag::kSequence));
  const Part algorithm = TRY(fields.take_whole(DerTag::kSequence));
  const bool is_p256 = equals(algorithm, algorithm_identifier(Curve::kP256));
  if (!is_p256 && !equals(algorithm, algorithm_identifier(Curve::kP384))) return not_plain();
  const Part point = TRY(fields.take_octets_of_bits());
  TRY(fields.expect_end());
  const Curve curve = is_p256 ? Curve::kP256 : Curve::kP384;
  const std::size_t size = coordinate_bytes(curve);
  // SEC 1, 2.3.3: uncompressed.
  if (point.size() != 1 + 2 * size || point[0] != std::byte{4}) return not_plain();
  return PublicKey::create(
      PublicKey::Point{.curve = curve, .x = point.subspan(1, size), .y = point.last(size)});
}

bool PlainCertificate::is_signed_by(const PublicKey& key) const {
  const auto good = key.verify(
      {.scheme = SignatureScheme::kEcdsa, .hash = hash, .first = r, .second = s}, signed_part);
  return good && *good;
}

}  // namespace bulkhead
