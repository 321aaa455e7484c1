// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <p11-kit/pkcs11.h>

#include <memory>
#include <string>

#include "base/result.h"

namespace bulkhead::broker {

// A PKCS#11 library (version 2.40), loaded and initialised. At most one in a process.
class Pkcs11Module {
 public:
  static Result<Pkcs11Module> load(const std::string& path);

  Pkcs11Module(Pkcs11Module&& other) noexcept;
  Pkcs11Module(const Pkcs11Module&) = delete;
  Pkcs11Module& operator=(const Pkcs11Module&) = delete;
  ~Pkcs11Module();

  const CK_FUNCTION_LIST& calls() const { return *calls_; }
  // The slot whose token has this label; kNotFound if none has, kExists if several have.
  Result<CK_SLOT_ID> slot_of(const std::string& label) const;

 private:
  explicit Pkcs11Module(CK_FUNCTION_LIST* calls) : calls_(calls) {}

  CK_FUNCTION_LIST* calls_;
};

// What the token said, as an Error: the literal names the call.
Error pkcs11_error(CK_RV code, const char* what);

}  // namespace bulkhead::broker
