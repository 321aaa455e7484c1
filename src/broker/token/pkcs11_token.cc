// SPDX-License-Identifier: Apache-2.0
#include "broker/token/pkcs11_token.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/fd.h"

namespace bulkhead::broker {
namespace {

constexpr std::size_t kMaxPinBytes = 256;
constexpr std::size_t kMaxWrappedBytes = 1024;
// The object identifier 1.2.840.10045.3.1.7, P-256, in DER.
constexpr std::array<unsigned char, 10> kP256 = {0x06, 0x08, 0x2a, 0x86, 0x48,
                                                 0xce, 0x3d, 0x03, 0x01, 0x07};

CK_BBOOL yes = CK_TRUE;
CK_BBOOL no = CK_FALSE;

// PKCS#11 takes pointers to what it only reads.
template <class T>
CK_ATTRIBUTE of(CK_ATTRIBUTE_TYPE type, const T& value) {
  return {type, const_cast<T*>(&value), sizeof value};
}
CK_ATTRIBUTE of_text(CK_ATTRIBUTE_TYPE type, const std::string& text) {
  return {type, const_cast<char*>(text.data()), text.size()};
}
CK_BYTE* raw(std::span<const std::byte> bytes) {
  return static_cast<CK_BYTE*>(static_cast<void*>(const_cast<std::byte*>(bytes.data())));
}

std::string label_of(const std::string& tenant) {
  return "bulkhead-broker/" + tenant;
}

// An object of this session only, which goes when this does.
class SessionObject {
 public:
  SessionObject(const CK_FUNCTION_LIST& calls, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle)
      : calls_(calls), session_(session), handle_(handle) {}
  SessionObject(const SessionObject&) = delete;
  SessionObject& operator=(const SessionObject&) = delete;
  ~SessionObject() { calls_.C_DestroyObject(session_, handle_); }
  CK_OBJECT_HANDLE handle() const { return handle_; }

 private:
  const CK_FUNCTION_LIST& calls_;
  CK_SESSION_HANDLE session_;
  CK_OBJECT_HANDLE handle_;
};

Result<SecretBytes> read_pin(const std::string& path) {
  const Fd file = TRY(Fd::open(path.c_str(), O_RDONLY | O_NOFOLLOW));
  SecretBytes content = TRY(SecretBytes::create(kMaxPinBytes));
  const ssize_t got = ::read(file.get(), content.bytes().data(), content.size());
  if (got < 0) return os_error("cannot read the PIN's file");
  std::span<const std::byte> pin = content.bytes().first(static_cast<std::size_t>(got));
  while (!pin.empty() && pin.back() == std::byte{'\n'}) pin = pin.first(pin.size() - 1);
  if (pin.empty()) return Error{Errc::kMalformed, 0, "the PIN's file is empty"};
  return SecretBytes::copy_of(pin);
}

Error no_keys() {
  return Error{Errc::kNotFound, 0, "the token has no keys of this tenant: bulkhead-broker init"};
}

}  // namespace

Result<std::unique_ptr<Pkcs11Token>> Pkcs11Token::open(const TokenConfig& config) {
  const SecretBytes pin = TRY(read_pin(config.pin_file));
  Pkcs11Module module = TRY(Pkcs11Module::load(config.module));
  const CK_SLOT_ID slot = TRY(module.slot_of(config.label));
  CK_SESSION_HANDLE session = 0;
  CK_RV code = module.calls().C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr,
                                            nullptr, &session);
  if (code != CKR_OK) return pkcs11_error(code, "the token opens no session");
  code = module.calls().C_Login(session, CKU_USER, raw(pin.bytes()), pin.size());
  if (code != CKR_OK) return pkcs11_error(code, "the token refuses the login");
  return std::unique_ptr<Pkcs11Token>(new Pkcs11Token(std::move(module), session));
}

Result<CK_OBJECT_HANDLE> Pkcs11Token::find(CK_OBJECT_CLASS kind, const std::string& tenant) {
  const std::string label = label_of(tenant);
  std::array wanted = {of(CKA_CLASS, kind), of(CKA_TOKEN, yes), of_text(CKA_LABEL, label)};
  const CK_FUNCTION_LIST& calls = module_.calls();
  CK_RV code = calls.C_FindObjectsInit(session_, wanted.data(), wanted.size());
  if (code != CKR_OK) return pkcs11_error(code, "the token finds no objects");
  std::array<CK_OBJECT_HANDLE, 2> found{};
  CK_ULONG count = 0;
  code = calls.C_FindObjects(session_, found.data(), found.size(), &count);
  calls.C_FindObjectsFinal(session_);
  if (code != CKR_OK) return pkcs11_error(code, "the token finds no objects");
  if (count == 0) return no_keys();
  if (count > 1) return Error{Errc::kExists, 0, "the token has two keys of this tenant"};
  return found[0];
}

Result<bool> Pkcs11Token::has(CK_OBJECT_CLASS kind, const std::string& tenant) {
  const Result<CK_OBJECT_HANDLE> found = find(kind, tenant);
  if (found) return true;
  if (found.error().code == Errc::kNotFound) return false;
  return found.error();
}

Result<void> Pkcs11Token::make_wrapping_key(const std::string& tenant) {
  const std::string label = label_of(tenant);
  const CK_ULONG size = 32;
  std::array wanted = {of(CKA_TOKEN, yes),       of(CKA_PRIVATE, yes), of(CKA_SENSITIVE, yes),
                       of(CKA_EXTRACTABLE, no),  of(CKA_WRAP, yes),    of(CKA_UNWRAP, yes),
                       of(CKA_ENCRYPT, no),      of(CKA_DECRYPT, no),  of(CKA_VALUE_LEN, size),
                       of_text(CKA_LABEL, label)};
  CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, nullptr, 0};
  CK_OBJECT_HANDLE key = 0;
  const CK_RV code =
      module_.calls().C_GenerateKey(session_, &mechanism, wanted.data(), wanted.size(), &key);
  if (code != CKR_OK) return pkcs11_error(code, "the token makes no wrapping key");
  return {};
}

Result<void> Pkcs11Token::make_signing_key(const std::string& tenant) {
  const std::string label = label_of(tenant);
  std::array public_half = {
      of(CKA_TOKEN, yes), of(CKA_VERIFY, yes), of_text(CKA_LABEL, label),
      CK_ATTRIBUTE{CKA_EC_PARAMS, const_cast<unsigned char*>(kP256.data()), kP256.size()}};
  std::array private_half = {of(CKA_TOKEN, yes),     of(CKA_PRIVATE, yes),
                             of(CKA_SENSITIVE, yes), of(CKA_EXTRACTABLE, no),
                             of(CKA_SIGN, yes),      of_text(CKA_LABEL, label)};
  CK_MECHANISM mechanism = {CKM_EC_KEY_PAIR_GEN, nullptr, 0};
  CK_OBJECT_HANDLE public_key = 0;
  CK_OBJECT_HANDLE private_key = 0;
  const CK_RV code = module_.calls().C_GenerateKeyPair(
      session_, &mechanism, public_half.data(), public_half.size(), private_half.data(),
      private_half.size(), &public_key, &private_key);
  if (code != CKR_OK) return pkcs11_error(code, "the token makes no signing key");
  return {};
}

Result<void> Pkcs11Token::make_keys(const std::string& tenant) {
  if (!TRY(has(CKO_SECRET_KEY, tenant))) TRY(make_wrapping_key(tenant));
  if (!TRY(has(CKO_PRIVATE_KEY, tenant))) TRY(make_signing_key(tenant));
  return {};
}

Result<Bytes> Pkcs11Token::wrap(const std::string& tenant, const SecretBytes& key) {
  const CK_OBJECT_HANDLE wrapping_key = TRY(find(CKO_SECRET_KEY, tenant));
  const CK_OBJECT_CLASS kind = CKO_SECRET_KEY;
  const CK_KEY_TYPE type = CKK_GENERIC_SECRET;
  std::array wanted = {
      of(CKA_CLASS, kind),   of(CKA_KEY_TYPE, type),
      of(CKA_TOKEN, no),     of(CKA_EXTRACTABLE, yes),
      of(CKA_SENSITIVE, no), CK_ATTRIBUTE{CKA_VALUE, raw(key.bytes()), key.size()}};
  CK_OBJECT_HANDLE handle = 0;
  CK_RV code = module_.calls().C_CreateObject(session_, wanted.data(), wanted.size(), &handle);
  if (code != CKR_OK) return pkcs11_error(code, "the token takes no key to wrap");
  const SessionObject object(module_.calls(), session_, handle);
  CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP_PAD, nullptr, 0};
  Bytes wrapped(kMaxWrappedBytes);
  CK_ULONG size = wrapped.size();
  code = module_.calls().C_WrapKey(session_, &mechanism, wrapping_key, object.handle(),
                                   raw(wrapped), &size);
  if (code != CKR_OK) return pkcs11_error(code, "the token does not wrap");
  wrapped.resize(size);
  return wrapped;
}

Result<SecretBytes> Pkcs11Token::unwrap(const std::string& tenant,
                                        std::span<const std::byte> wrapped) {
  const CK_OBJECT_HANDLE wrapping_key = TRY(find(CKO_SECRET_KEY, tenant));
  const CK_OBJECT_CLASS kind = CKO_SECRET_KEY;
  const CK_KEY_TYPE type = CKK_GENERIC_SECRET;
  std::array wanted = {of(CKA_CLASS, kind), of(CKA_KEY_TYPE, type), of(CKA_TOKEN, no),
                       of(CKA_EXTRACTABLE, yes), of(CKA_SENSITIVE, no)};
  CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP_PAD, nullptr, 0};
  CK_OBJECT_HANDLE handle = 0;
  const CK_RV code =
      module_.calls().C_UnwrapKey(session_, &mechanism, wrapping_key, raw(wrapped), wrapped.size(),
                                  wanted.data(), wanted.size(), &handle);
  if (code != CKR_OK) {
    static_cast<void>(pkcs11_error(code, "the token does not unwrap"));
    return Error{Errc::kMalformed, 0, "the tenant's key has not wrapped this"};
  }
  const SessionObject object(module_.calls(), session_, handle);
  Bytes value = TRY(attribute(object.handle(), CKA_VALUE));
  if (value.empty()) return Error{Errc::kMalformed, 0, "the tenant's key has wrapped nothing here"};
  Result<SecretBytes> key = SecretBytes::copy_of(value);
  wipe(value);
  return key;
}

Result<Bytes> Pkcs11Token::sign(const std::string& tenant, const Sha256Digest& digest) {
  const CK_OBJECT_HANDLE key = TRY(find(CKO_PRIVATE_KEY, tenant));
  CK_MECHANISM mechanism = {CKM_ECDSA, nullptr, 0};
  CK_RV code = module_.calls().C_SignInit(session_, &mechanism, key);
  if (code != CKR_OK) return pkcs11_error(code, "the token does not sign");
  Bytes signature(kEcdsaBytes);
  CK_ULONG size = signature.size();
  code = module_.calls().C_Sign(session_, raw(digest), digest.size(), raw(signature), &size);
  if (code != CKR_OK || size != kEcdsaBytes) return pkcs11_error(code, "the token does not sign");
  return signature;
}

Result<Bytes> Pkcs11Token::attribute(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  Bytes value(kMaxWrappedBytes);
  CK_ATTRIBUTE wanted = {type, value.data(), value.size()};
  const CK_RV code = module_.calls().C_GetAttributeValue(session_, object, &wanted, 1);
  if (code != CKR_OK) return pkcs11_error(code, "the token does not show an attribute");
  value.resize(wanted.ulValueLen);
  return value;
}

Result<Bytes> Pkcs11Token::public_point(const std::string& tenant) {
  const Bytes encoded = TRY(attribute(TRY(find(CKO_PUBLIC_KEY, tenant)), CKA_EC_POINT));
  // PKCS#11 2.40, 2.3.3: an OCTET STRING in DER, of the uncompressed point.
  constexpr std::array kHead = {std::byte{0x04}, std::byte{0x41}, std::byte{0x04}};
  if (encoded.size() != kHead.size() + kPointBytes ||
      !std::equal(kHead.begin(), kHead.end(), encoded.begin())) {
    return Error{Errc::kMalformed, 0, "the token's public key is none of P-256"};
  }
  return Bytes(encoded.begin() + kHead.size(), encoded.end());
}

}  // namespace bulkhead::broker
