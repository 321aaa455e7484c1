// SPDX-License-Identifier: Apache-2.0
#include "measure/pcr_bank.h"

#include <algorithm>
#include <utility>

namespace bulkhead {
namespace {

Error no_such_pcr() {
  return Error{Errc::kOutOfRange, 0, "there is no PCR of that number"};
}

template <std::size_t... kIndex>
std::array<Digest, kPcrCount> zeros(HashAlgorithm algorithm, std::index_sequence<kIndex...>) {
  return {((void)kIndex, Digest(algorithm))...};
}

}  // namespace

Result<Pcr> to_pcr(std::uint32_t number) {
  if (number >= kPcrCount) return no_such_pcr();
  return static_cast<Pcr>(number);
}

// PC Client Platform TPM Profile, table of PCR initial values: the PCRs of a dynamic launch, which
// has not happened, are all ones; the rest are zero, but PCR 0 tells the locality.
PcrBank::PcrBank(HashAlgorithm algorithm, StartupLocality locality)
    : algorithm_(algorithm), values_(zeros(algorithm, std::make_index_sequence<kPcrCount>())) {
  constexpr unsigned kFirstDynamic = 17;
  constexpr unsigned kLastDynamic = 22;
  for (unsigned i = kFirstDynamic; i <= kLastDynamic; ++i) {
    std::ranges::fill(values_[i].bytes(), std::byte{0xff});
  }
  values_[0].bytes().back() = static_cast<std::byte>(locality);
}

Result<void> PcrBank::extend(Pcr pcr, const Digest& digest) {
  Hash hash = TRY(Hash::create(algorithm_));
  return extend(pcr, digest, hash);
}

Result<void> PcrBank::extend(Pcr pcr, const Digest& digest, Hash& hash) {
  if (index_of(pcr) >= kPcrCount) return no_such_pcr();
  if (digest.algorithm() != algorithm_) {
    return Error{Errc::kInvalidArgument, 0, "the digest is of another bank's algorithm"};
  }
  Digest& value = values_[index_of(pcr)];
  const Digest made = TRY(hash.next({std::as_const(value).bytes(), digest.bytes()}));
  CHECK(made.algorithm() == algorithm_);
  value = made;
  return {};
}

Result<Digest> PcrBank::value(Pcr pcr) const {
  if (index_of(pcr) >= kPcrCount) return no_such_pcr();
  return values_[index_of(pcr)];
}

}  // namespace bulkhead
