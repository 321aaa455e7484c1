// SPDX-License-Identifier: Apache-2.0
#include "hostca/tpm/host_tpm.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_tctildr.h>

#include <algorithm>

#include "crypto/digest.h"
#include "crypto/openssl_bytes.h"
#include "hostca/templates.h"
#include "hostca/tpm/tpm_objects.h"

namespace bulkhead::hostca {
namespace {

// TCG EK Credential Profile 2.5, 2.2.1.4 and 2.2.1.5.
constexpr std::uint32_t kRsaCertificate = 0x01c00002;
constexpr std::uint32_t kEccCertificate = 0x01c0000a;
constexpr std::uint32_t kFirstChainIndex = 0x01c00100;
constexpr unsigned kMaxChainIndexes = 4;
constexpr std::size_t kMaxNvBytes = 8192;
constexpr std::size_t kNvStep = 512;  // every TPM reads that much at a time

struct FreeSignature {
  void operator()(ECDSA_SIG* signature) const { ECDSA_SIG_free(signature); }
};

std::span<const std::byte> content(const BYTE* bytes, std::size_t size) {
  return std::as_bytes(std::span(bytes, size));
}

// The TPM's two numbers as an ECDSA-Sig-Value.
Result<Bytes> as_der(const TPMS_SIGNATURE_ECC& pair) {
  const std::unique_ptr<ECDSA_SIG, FreeSignature> signature(ECDSA_SIG_new());
  BIGNUM* r = BN_bin2bn(pair.signatureR.buffer, pair.signatureR.size, nullptr);
  BIGNUM* s = BN_bin2bn(pair.signatureS.buffer, pair.signatureS.size, nullptr);
  if (signature == nullptr || ECDSA_SIG_set0(signature.get(), r, s) != 1) {
    BN_free(r);
    BN_free(s);
    return openssl_failed();
  }
  unsigned char* encoded = nullptr;
  const int length = i2d_ECDSA_SIG(signature.get(), &encoded);
  if (length <= 0) return openssl_failed();
  Bytes der = copy_of(content(encoded, static_cast<std::size_t>(length)));
  OPENSSL_free(encoded);
  return der;
}

// The certificates that lie one behind the other, each with its own length (X.690, 8.1.3): NV
// memory is often larger than what is in it.
std::vector<Bytes> split_certificates(std::span<const std::byte> bytes) {
  std::vector<Bytes> found;
  while (bytes.size() >= 4 && bytes[0] == std::byte{0x30} && bytes[1] == std::byte{0x82}) {
    const std::size_t size =
        4 + (std::to_integer<std::size_t>(bytes[2]) << 8) + std::to_integer<std::size_t>(bytes[3]);
    if (size > bytes.size()) break;
    found.push_back(copy_of(bytes.first(size)));
    bytes = bytes.subspan(size);
  }
  return found;
}

}  // namespace

// An object in the TPM, for as long as this one lives.
class HostTpm::Object {
 public:
  Object(ESYS_CONTEXT* esys, ESYS_TR handle, TpmPublic area)
      : esys_(esys), handle_(handle), area_(std::move(area)) {}
  ~Object() { Esys_FlushContext(esys_, handle_); }
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  ESYS_TR handle() const { return handle_; }
  const TpmPublic& area() const { return area_; }

 private:
  ESYS_CONTEXT* esys_;
  ESYS_TR handle_;
  TpmPublic area_;
};

// A session that says what the policy of an endorsement key demands: that the endorsement
// hierarchy's password, which is empty, is known.
class HostTpm::PolicySession {
 public:
  explicit PolicySession(ESYS_CONTEXT* esys) : esys_(esys) {}
  ~PolicySession() {
    if (handle_ != ESYS_TR_NONE) Esys_FlushContext(esys_, handle_);
  }
  PolicySession(const PolicySession&) = delete;
  PolicySession& operator=(const PolicySession&) = delete;

  TSS2_RC open() {
    const TPMT_SYM_DEF none{.algorithm = TPM2_ALG_NULL, .keyBits = {}, .mode = {}};
    const TSS2_RC started = Esys_StartAuthSession(esys_, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                                  ESYS_TR_NONE, ESYS_TR_NONE, nullptr,
                                                  TPM2_SE_POLICY, &none, TPM2_ALG_SHA256, &handle_);
    if (started != TSS2_RC_SUCCESS) return started;
    return Esys_PolicySecret(esys_, ESYS_TR_RH_ENDORSEMENT, handle_, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                             ESYS_TR_NONE, nullptr, nullptr, nullptr, 0, nullptr, nullptr);
  }
  ESYS_TR handle() const { return handle_; }

 private:
  ESYS_CONTEXT* esys_;
  ESYS_TR handle_ = ESYS_TR_NONE;
};

HostTpm::HostTpm(TSS2_TCTI_OPAQUE_CONTEXT_BLOB* tcti, ESYS_CONTEXT* esys)
    : tcti_(tcti), esys_(esys) {}

HostTpm::~HostTpm() {
  ca_key_.reset();
  endorsement_key_.reset();
  Esys_Finalize(&esys_);
  Tss2_TctiLdr_Finalize(&tcti_);
}

Result<std::unique_ptr<HostTpm>> HostTpm::open(const std::string& where) {
  constexpr const char* kNone =
      "cannot reach a TPM 2.0: is there a /dev/tpmrm0, and may you use it?";
  TSS2_TCTI_CONTEXT* tcti = nullptr;
  const char* name = where.empty() ? nullptr : where.c_str();
  if (const TSS2_RC code = Tss2_TctiLdr_Initialize(name, &tcti); code != TSS2_RC_SUCCESS) {
    return tpm_error(code, kNone);
  }
  ESYS_CONTEXT* esys = nullptr;
  if (const TSS2_RC code = Esys_Initialize(&esys, tcti, nullptr); code != TSS2_RC_SUCCESS) {
    Tss2_TctiLdr_Finalize(&tcti);
    return tpm_error(code, kNone);
  }
  return std::unique_ptr<HostTpm>(new HostTpm(tcti, esys));
}

Result<std::unique_ptr<HostTpm::Object>> HostTpm::make_primary(std::uint32_t hierarchy,
                                                               const TpmPublic& form) {
  const TPM2B_PUBLIC wanted = TRY(to_tss(form));
  const TPM2B_SENSITIVE_CREATE sensitive{};
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION pcrs{};
  ESYS_TR handle = ESYS_TR_NONE;
  TPM2B_PUBLIC* made = nullptr;
  const TSS2_RC code =
      Esys_CreatePrimary(esys_, hierarchy, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive,
                         &wanted, &outside, &pcrs, &handle, &made, nullptr, nullptr, nullptr);
  if (code != TSS2_RC_SUCCESS) {
    return tpm_error(code,
                     "the host's TPM makes no key: the passwords of its owner and endorsement "
                     "hierarchies must be empty");
  }
  const Owned<TPM2B_PUBLIC> owned(made);
  Result<TpmPublic> area = from_tss(*made);
  if (area) return std::make_unique<Object>(esys_, handle, std::move(*area));
  Esys_FlushContext(esys_, handle);
  return area.error();
}

// Asking for the area of an index that is not there makes tpm2-tss log an error.
bool HostTpm::has_nv(std::uint32_t index) {
  TPMS_CAPABILITY_DATA* handles = nullptr;
  if (Esys_GetCapability(esys_, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_HANDLES, index,
                         1, nullptr, &handles) != TSS2_RC_SUCCESS) {
    return false;
  }
  const Owned<TPMS_CAPABILITY_DATA> owned(handles);
  return handles->data.handles.count == 1 && handles->data.handles.handle[0] == index;
}

// kNotFound where there is nothing to read.
Result<Bytes> HostTpm::read_nv(std::uint32_t index) {
  const Error absent{Errc::kNotFound, 0, "the host's TPM has no such certificate"};
  ESYS_TR handle = ESYS_TR_NONE;
  TPM2B_NV_PUBLIC* area = nullptr;
  if (!has_nv(index) ||
      Esys_TR_FromTPMPublic(esys_, index, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &handle) !=
          TSS2_RC_SUCCESS ||
      Esys_NV_ReadPublic(esys_, handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &area, nullptr) !=
          TSS2_RC_SUCCESS) {
    return absent;
  }
  const Owned<TPM2B_NV_PUBLIC> owned_area(area);
  const std::size_t size = std::min<std::size_t>(area->nvPublic.dataSize, kMaxNvBytes);
  Bytes bytes;
  while (bytes.size() < size) {
    TPM2B_MAX_NV_BUFFER* piece = nullptr;
    const auto step = static_cast<UINT16>(std::min(kNvStep, size - bytes.size()));
    if (Esys_NV_Read(esys_, handle, handle, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, step,
                     static_cast<UINT16>(bytes.size()), &piece) != TSS2_RC_SUCCESS) {
      return absent;
    }
    const Owned<TPM2B_MAX_NV_BUFFER> owned(piece);
    if (piece->size == 0) return absent;
    const auto got = content(piece->buffer, piece->size);
    bytes.insert(bytes.end(), got.begin(), got.end());
  }
  return bytes;
}

Result<Endorsement> HostTpm::endorsement() {
  Result<Bytes> certificate = read_nv(kRsaCertificate);
  bool rsa = certificate.has_value();
  if (!rsa) certificate = read_nv(kEccCertificate);
  if (!certificate) rsa = true;
  endorsement_key_ = TRY(make_primary(
      ESYS_TR_RH_ENDORSEMENT, rsa ? rsa_endorsement_template() : ecc_endorsement_template()));
  Endorsement found{.key = endorsement_key_->area(), .certificates = {}};
  if (!certificate) return found;
  found.certificates = split_certificates(*certificate);
  for (unsigned i = 0; i < kMaxChainIndexes; ++i) {
    const Result<Bytes> more = read_nv(kFirstChainIndex + i);
    if (!more) break;
    for (Bytes& der : split_certificates(*more)) found.certificates.push_back(std::move(der));
  }
  return found;
}

Result<TpmPublic> HostTpm::make_ca_key(std::span<const std::byte> secret) {
  ca_key_ = TRY(make_primary(ESYS_TR_RH_OWNER, partition_ca_template(secret)));
  return ca_key_->area();
}

Result<Bytes> HostTpm::sign(std::span<const std::byte> message) {
  CHECK(ca_key_ != nullptr);
  TPM2B_DIGEST digest{};
  TRY(fill(digest.size, digest.buffer, TRY(Sha256::of(message))));
  const TPMT_SIG_SCHEME scheme{.scheme = TPM2_ALG_NULL, .details = {}};
  const TPMT_TK_HASHCHECK ticket{.tag = TPM2_ST_HASHCHECK, .hierarchy = TPM2_RH_NULL, .digest = {}};
  TPMT_SIGNATURE* made = nullptr;
  const TSS2_RC code = Esys_Sign(esys_, ca_key_->handle(), ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                 ESYS_TR_NONE, &digest, &scheme, &ticket, &made);
  if (code != TSS2_RC_SUCCESS) return tpm_error(code, "the host's TPM does not sign");
  const Owned<TPMT_SIGNATURE> owned(made);
  return as_der(made->signature.ecdsa);
}

Result<Bytes> HostTpm::activate(const TpmCredential& credential) {
  CHECK(ca_key_ != nullptr && endorsement_key_ != nullptr);
  TPM2B_ID_OBJECT object{};
  TPM2B_ENCRYPTED_SECRET secret{};
  TRY(fill(object.size, object.credential, credential.id_object));
  TRY(fill(secret.size, secret.secret, credential.encrypted_secret));
  PolicySession policy(esys_);
  if (const TSS2_RC code = policy.open(); code != TSS2_RC_SUCCESS) {
    return tpm_error(code, "the endorsement hierarchy of the host's TPM has a password");
  }
  TPM2B_DIGEST* opened = nullptr;
  const TSS2_RC code = Esys_ActivateCredential(esys_, ca_key_->handle(), endorsement_key_->handle(),
                                               ESYS_TR_PASSWORD, policy.handle(), ESYS_TR_NONE,
                                               &object, &secret, &opened);
  if (code != TSS2_RC_SUCCESS) {
    return tpm_error(code, "this TPM cannot open the grant: it was made for another host or key");
  }
  const Owned<TPM2B_DIGEST> owned(opened);
  return copy_of(content(opened->buffer, opened->size));
}

}  // namespace bulkhead::hostca
