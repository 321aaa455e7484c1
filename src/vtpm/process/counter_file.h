// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "base/fd.h"
#include "crypto/secret_bytes.h"
#include "seal/rollback_anchor.h"

namespace bulkhead::vtpm {

// The newest state's mark in a file that is already open: a process that may open nothing cannot
// replace one. Two records take turns, each with a MAC, so that one of them is always whole.
// It protects against whoever can roll back the state but not this file, which is less than a
// hardware TPM's counter does. Format: docs/formats/vtpm.md.
class CounterFile final : public RollbackAnchor {
 public:
  static Result<CounterFile> create(Fd fd, const SecretBytes& state_key);

  // Whether no mark was ever written.
  Result<bool> empty() const;

  Result<AnchorMark> newest(const StoreId& store) override;
  Result<void> advance(const StoreId& store, const AnchorMark& mark) override;
  // kUnsupported: who opened the file removes it.
  Result<void> forget(const StoreId& store) override;

 private:
  struct Record {
    StoreId store;
    AnchorMark mark;
  };

  CounterFile(Fd fd, SecretBytes key) : fd_(std::move(fd)), key_(std::move(key)) {}
  Result<std::optional<Record>> read_record(std::uint64_t slot) const;

  Fd fd_;
  SecretBytes key_;
};

}  // namespace bulkhead::vtpm
