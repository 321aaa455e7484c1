// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "measure/tpm_alg.h"

namespace bulkhead {

inline constexpr unsigned kPcrCount = 24;  // PC Client Platform TPM Profile: PCR 0 to 23

// A PCR by its number. A value read from elsewhere may lie beyond kPcrCount: to_pcr() checks.
enum class Pcr : std::uint8_t {};

constexpr unsigned index_of(Pcr pcr) {
  return static_cast<unsigned>(pcr);
}
Result<Pcr> to_pcr(std::uint32_t number);

// The banks of a partition's TPM, in the order in which its log has their digests. Each has to be
// extended with everything: one that is not would be the guest's to fill.
inline constexpr HashAlgorithm kMeasuredBanks[] = {HashAlgorithm::kSha256, HashAlgorithm::kSha384};

// How the TPM was started; PCR 0 shows it (TPM 2.0 Part 1, "Initializing PCR").
enum class StartupLocality : std::uint8_t {
  kZero = 0,
  kThree = 3,
  kHcrtm = 4,  // something was hashed by _TPM_Hash_Start/Data/End before TPM2_Startup
};

// All PCRs of one hash, as they are from TPM2_Startup(CLEAR) on. Pure arithmetic: a prediction.
class PcrBank {
 public:
  PcrBank(HashAlgorithm algorithm, StartupLocality locality);

  // TPM2_PCR_Extend: the hash of the old value followed by the digest. With kHcrtm the first digest
  // for PCR 0 is that of what _TPM_Hash_Data was given: the TPM then computes just this.
  Result<void> extend(Pcr pcr, const Digest& digest);
  // The same with an unused hash of this bank's algorithm, which is unused again thereafter.
  Result<void> extend(Pcr pcr, const Digest& digest, Hash& hash);

  HashAlgorithm algorithm() const { return algorithm_; }
  Result<Digest> value(Pcr pcr) const;
  std::span<const Digest, kPcrCount> values() const { return values_; }
  bool operator==(const PcrBank&) const = default;

 private:
  HashAlgorithm algorithm_;
  std::array<Digest, kPcrCount> values_;
};

}  // namespace bulkhead
