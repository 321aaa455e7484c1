// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "seal/key_source.h"
#include "seal/medium.h"
#include "seal/rollback_anchor.h"
#include "seal/sealed_store.h"

namespace bulkhead::vtpm {

// The longest permanent state there may be: libtpms's NV memory has 128 KiB.
inline constexpr std::size_t kMaxStateBytes = 256 * kKiB - sizeof(std::uint32_t);

// Where a TPM's permanent state lasts.
class StateKeeper {
 public:
  virtual ~StateKeeper() = default;

  // What was last saved; empty if nothing ever was.
  virtual Result<std::vector<std::byte>> load() = 0;
  // Lasting when it returns; until then the old state is.
  virtual Result<void> save(std::span<const std::byte> state) = 0;
};

// For a TPM that ends with its process.
class NoKeeper final : public StateKeeper {
 public:
  Result<std::vector<std::byte>> load() override { return std::vector<std::byte>(); }
  Result<void> save(std::span<const std::byte>) override { return {}; }
};

// Seals the state as a whole: authenticated, and only the newest opens. Stored are its length (four
// bytes) and its bytes, in as many pages as they need. Format: docs/formats/vtpm.md.
class SealedKeeper final : public StateKeeper {
 public:
  struct Parts {
    Medium& medium;  // these outlive the keeper
    KeySource& key;
    RollbackAnchor& counter;
  };

  // `fresh`: nothing was ever sealed there. Else errors are SealedStore::open()'s.
  static Result<std::unique_ptr<SealedKeeper>> create(const Parts& parts, bool fresh);
  ~SealedKeeper() override;

  Result<std::vector<std::byte>> load() override;
  Result<void> save(std::span<const std::byte> state) override;

 private:
  explicit SealedKeeper(std::unique_ptr<SealedStore> store);

  std::unique_ptr<SealedStore> store_;
  std::vector<std::byte> sealed_;  // what the store has, so that only changed pages are sealed anew
};

}  // namespace bulkhead::vtpm
