// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "crypto/secret_bytes.h"
#include "seal/rollback_anchor.h"

namespace bulkhead {

// The mark in a small file with a MAC, replaced atomically. It protects against whoever can roll
// back the store but not this file: put it on another disk than the store.
class FileAnchor final : public RollbackAnchor {
 public:
  // The file need not exist before the first advance().
  static Result<FileAnchor> create(std::string path, const SecretBytes& partition_key);

  Result<AnchorMark> newest(const StoreId& store) override;
  Result<void> advance(const StoreId& store, const AnchorMark& mark) override;
  Result<void> forget(const StoreId& store) override;

 private:
  FileAnchor(std::string path, SecretBytes key) : path_(std::move(path)), key_(std::move(key)) {}

  std::string path_;
  SecretBytes key_;
};

}  // namespace bulkhead
