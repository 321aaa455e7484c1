// SPDX-License-Identifier: Apache-2.0
#include "attest/pcr_values.h"

namespace bulkhead {
namespace {

// "0,4,8-10" for the bits of a selection.
std::string ranges(std::uint32_t pcrs) {
  std::string text;
  for (unsigned first = 0; first < kPcrCount; ++first) {
    if ((pcrs >> first & 1) == 0) continue;
    unsigned last = first;
    while (last + 1 < kPcrCount && (pcrs >> (last + 1) & 1) != 0) ++last;
    if (!text.empty()) text += ',';
    text += std::to_string(first);
    if (last > first) text += (last == first + 1 ? ',' : '-') + std::to_string(last);
    first = last;
  }
  return text;
}

// Calls visit(pcr, value) for what is selected, in the order in which a TPM digests it.
template <class Visit>
Result<void> for_each_selected(const PcrSelections& selections, const PcrValues& values,
                               Visit visit) {
  for (const PcrSelection& selection : selections) {
    for (unsigned index = 0; index < kPcrCount; ++index) {
      if (!selection.has(index)) continue;
      const PcrId pcr{selection.bank, index};
      const Bytes* value = values.find(pcr);
      if (value == nullptr) return Error{Errc::kNotFound, 0, "a quoted PCR's value is missing"};
      TRY(visit(pcr, *value));
    }
  }
  return {};
}

}  // namespace

std::string to_string(PcrId pcr) {
  return std::string(to_string(pcr.bank)) + ":" + std::to_string(pcr.index);
}

std::string to_string(const PcrSelections& selections) {
  std::string text;
  for (const PcrSelection& selection : selections) {
    if (selection.pcrs == 0) continue;
    if (!text.empty()) text += '+';
    text += std::string(to_string(selection.bank)) + ":" + ranges(selection.pcrs);
  }
  return text.empty() ? "none" : text;
}

Result<void> PcrValues::set(PcrId pcr, std::span<const std::byte> value) {
  if (pcr.index >= kPcrCount) return Error{Errc::kOutOfRange, 0, "there is no such PCR"};
  if (value.empty() || value.size() != tpm_digest_bytes(pcr.bank)) {
    return Error{Errc::kMalformed, 0, "a PCR's value has another size than its bank's"};
  }
  if (!values_.emplace(pcr, copy_of(value)).second) {
    return Error{Errc::kExists, 0, "a PCR's value is given twice"};
  }
  return {};
}

const Bytes* PcrValues::find(PcrId pcr) const {
  const auto found = values_.find(pcr);
  return found == values_.end() ? nullptr : &found->second;
}

Result<PcrValues> PcrValues::selected(const PcrSelections& selections) const {
  PcrValues some;
  TRY(for_each_selected(selections, *this,
                        [&](PcrId pcr, const Bytes& value) { return some.set(pcr, value); }));
  return some;
}

Result<Bytes> pcr_digest(HashAlgorithm hash, const PcrSelections& selections,
                         const PcrValues& values) {
  Bytes all;
  TRY(for_each_selected(selections, values, [&](PcrId, const Bytes& value) -> Result<void> {
    all.insert(all.end(), value.begin(), value.end());
    return {};
  }));
  const Digest digest = TRY(Hash::of(hash, {all}));
  return copy_of(digest.bytes());
}

}  // namespace bulkhead
