// SPDX-License-Identifier: Apache-2.0
#include "broker/token/pkcs11_module.h"

#include <dlfcn.h>

#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"

namespace bulkhead::broker {
namespace {

// A label is padded with spaces to its 32 characters.
bool has_label(const CK_TOKEN_INFO& info, std::string_view label) {
  const std::string_view padded(static_cast<const char*>(static_cast<const void*>(info.label)),
                                sizeof info.label);
  return padded.starts_with(label) &&
         padded.find_first_not_of(' ', label.size()) == std::string_view::npos;
}

}  // namespace

Error pkcs11_error(CK_RV code, const char* what) {
  log_warning("token-call-failed", {{"call", what}, {"ckr", code}});
  switch (code) {
    case CKR_PIN_INCORRECT:
    case CKR_PIN_LOCKED:
    case CKR_PIN_INVALID:
      return Error{Errc::kPermission, 0, "the token does not take this PIN"};
    case CKR_MECHANISM_INVALID:
    case CKR_FUNCTION_NOT_SUPPORTED:
      return Error{Errc::kUnsupported, 0, "the token lacks a mechanism: AES key wrap, or ECDSA"};
    default:
      return Error{Errc::kIo, 0, what};
  }
}

Result<Pkcs11Module> Pkcs11Module::load(const std::string& path) {
  // Never closed: libraries of this kind do not survive that.
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return Error{Errc::kNotFound, 0, "the token's library cannot be loaded: token.module"};
  }
  void* symbol = ::dlsym(library, "C_GetFunctionList");
  if (symbol == nullptr) return Error{Errc::kMalformed, 0, "this library is none of PKCS#11"};
  CK_C_GetFunctionList get_list = nullptr;
  static_assert(sizeof get_list == sizeof symbol);
  std::memcpy(&get_list, &symbol, sizeof symbol);
  CK_FUNCTION_LIST* calls = nullptr;
  if (get_list(&calls) != CKR_OK || calls == nullptr) {
    return Error{Errc::kMalformed, 0, "this library is none of PKCS#11"};
  }
  const CK_RV code = calls->C_Initialize(nullptr);
  if (code != CKR_OK) return pkcs11_error(code, "the token's library does not start");
  return Pkcs11Module(calls);
}

Pkcs11Module::Pkcs11Module(Pkcs11Module&& other) noexcept
    : calls_(std::exchange(other.calls_, nullptr)) {}

Pkcs11Module::~Pkcs11Module() {
  if (calls_ != nullptr) calls_->C_Finalize(nullptr);
}

Result<CK_SLOT_ID> Pkcs11Module::slot_of(const std::string& label) const {
  CK_ULONG count = 0;
  CK_RV code = calls_->C_GetSlotList(CK_TRUE, nullptr, &count);
  std::vector<CK_SLOT_ID> slots(count);
  if (code == CKR_OK) code = calls_->C_GetSlotList(CK_TRUE, slots.data(), &count);
  if (code != CKR_OK) return pkcs11_error(code, "the token's library shows no slots");
  slots.resize(count);
  std::vector<CK_SLOT_ID> found;
  for (CK_SLOT_ID slot : slots) {
    CK_TOKEN_INFO info;
    if (calls_->C_GetTokenInfo(slot, &info) == CKR_OK && has_label(info, label)) {
      found.push_back(slot);
    }
  }
  if (found.empty()) return Error{Errc::kNotFound, 0, "no token has this label: token.label"};
  if (found.size() > 1) return Error{Errc::kExists, 0, "several tokens have this label"};
  return found.front();
}

}  // namespace bulkhead::broker
