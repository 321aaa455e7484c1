// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/fd.h"
#include "crypto/secret_bytes.h"
#include "measure/tpm_wire.h"

namespace bulkhead::hostca {

// Where a host keeps what its partition CA needs: a directory of ours alone. Files are written
// beside and renamed, so that each is the old one or the new one.
class StateDirectory {
 public:
  static constexpr const char* kDefaultPath = "/var/lib/bulkhead/host";
  static constexpr const char* kTpmSecret = "tpm.secret";      // 32 bytes
  static constexpr const char* kSoftwareKey = "software.key";  // PEM
  static constexpr const char* kCertificates = "certificates.pem";

  // kNotFound if there is none; kPermission if others may write to it, or it is somebody else's.
  static Result<StateDirectory> open(const std::string& path);
  // The same, and makes it, mode 0700, with the directory that it lies in.
  static Result<StateDirectory> create(const std::string& path);

  bool has(const char* file) const;
  // kPermission if anybody else may read the file.
  Result<SecretBytes> read_secret(const char* file) const;
  Result<std::string> read_text(const char* file) const;
  // Mode 0600.
  Result<void> write(const char* file, std::span<const std::byte> content) const;
  Result<void> remove(const char* file) const;

 private:
  explicit StateDirectory(Fd directory) : directory_(std::move(directory)) {}

  Fd directory_;
};

}  // namespace bulkhead::hostca
