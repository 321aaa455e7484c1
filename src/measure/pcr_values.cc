// SPDX-License-Identifier: Apache-2.0
#include "measure/pcr_values.h"

#include <algorithm>

namespace bulkhead {
namespace {

constexpr std::uint32_t kMaxBanks = 16;  // HASH_COUNT: no TPM has more hash functions
constexpr std::size_t kSelectBytes = kPcrCount / 8;

Error malformed(const char* what) {
  return Error{Errc::kMalformed, 0, what};
}

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

// PTP 4.6: a selection has 24 bits on PC Client platforms, the fewest and the most that there are.
Result<PcrSelection> read_selection(ByteReader& reader) {
  PcrSelection selection;
  selection.bank = TRY(read_algorithm(reader));
  if (tpm_digest_bytes(selection.bank) == 0) return malformed("a PCR bank of an unknown hash");
  if (TRY(reader.read_be<std::uint8_t>()) != kSelectBytes) {
    return malformed("a PCR selection is not of 24 PCRs");
  }
  for (unsigned byte = 0; byte < kSelectBytes; ++byte) {
    selection.pcrs |= std::uint32_t{TRY(reader.read_be<std::uint8_t>())} << (8 * byte);
  }
  return selection;
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

Result<PcrSelections> read_pcr_selections(ByteReader& reader) {
  const auto count = TRY(reader.read_be<std::uint32_t>());
  if (count > kMaxBanks) return malformed("too many PCR selections");
  PcrSelections selections;
  for (std::uint32_t i = 0; i < count; ++i) {
    const PcrSelection selection = TRY(read_selection(reader));
    const bool twice =
        std::ranges::find(selections, selection.bank, &PcrSelection::bank) != selections.end();
    if (twice) return malformed("a PCR bank is selected twice");
    selections.push_back(selection);
  }
  return selections;
}

void write_pcr_selections(TpmWriter& writer, const PcrSelections& selections) {
  writer.u32(static_cast<std::uint32_t>(selections.size()));
  for (const PcrSelection& selection : selections) {
    writer.algorithm(selection.bank).u8(kSelectBytes);
    for (unsigned byte = 0; byte < kSelectBytes; ++byte) {
      writer.u8(static_cast<std::uint8_t>(selection.pcrs >> (8 * byte) & 0xff));
    }
  }
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
