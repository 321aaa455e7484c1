// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>

#include "base/fd.h"
#include "crypto/secret_bytes.h"
#include "seal/rollback_anchor.h"
#include "vtpm/process/host_counter.h"

namespace bulkhead::vtpm {

// The newest state's mark in a file that is already open: a process that may open nothing cannot
// replace one. Two records take turns, each with a MAC, so that one of them is always whole.
//
// With a counter in the host's TPM a record says besides what that counter shows while the record
// is the newest: an older file is noticed. Without, the file protects against whoever can roll back
// the state but not the file. Which it is, is settled with the first mark. Format:
// docs/formats/vtpm.md.
class CounterFile final : public RollbackAnchor {
 public:
  // `host`: null if no host's TPM can be asked. It outlives this object.
  static Result<CounterFile> create(Fd fd, const SecretBytes& state_key, HostCounter* host);

  // Whether no mark was ever written.
  Result<bool> empty() const;

  // kRolledBack for an older file, kClosed if the host's TPM counts and cannot be asked.
  Result<AnchorMark> newest(const StoreId& store) override;
  Result<void> advance(const StoreId& store, const AnchorMark& mark) override;
  // kUnsupported: who opened the file removes it.
  Result<void> forget(const StoreId& store) override;

 private:
  static constexpr std::uint64_t kSlots = 2;
  struct Record {
    std::uint64_t slot = 0;
    StoreId store;
    AnchorMark mark;
    CounterValue counter;  // index 0: there is none
  };
  using Records = std::array<std::optional<Record>, kSlots>;

  CounterFile(Fd fd, SecretBytes key, HostCounter* host)
      : fd_(std::move(fd)), key_(std::move(key)), host_(host) {}
  Result<std::optional<Record>> read_record(std::uint64_t slot) const;
  Result<void> write_record(const Record& record) const;
  Result<Record> newest_record(const StoreId& store) const;
  Result<Record> counted(const Records& records, std::uint32_t index) const;
  Result<void> begin(const StoreId& store, const AnchorMark& mark) const;

  Fd fd_;
  SecretBytes key_;
  HostCounter* host_;
};

}  // namespace bulkhead::vtpm
