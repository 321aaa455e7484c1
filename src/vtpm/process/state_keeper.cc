// SPDX-License-Identifier: Apache-2.0
#include "vtpm/process/state_keeper.h"

#include <algorithm>

#include "base/byte_reader.h"
#include "crypto/secret_bytes.h"

namespace bulkhead::vtpm {
namespace {

constexpr Purpose kVtpmPurpose("vtpm");
constexpr std::size_t kLengthBytes = sizeof(std::uint32_t);
constexpr std::uint64_t kPages = (kLengthBytes + kMaxStateBytes) / kPageSize;

PageBytes page_of(std::span<std::byte> all, std::uint64_t page) {
  return all.subspan(page * kPageSize).first<kPageSize>();
}

}  // namespace

SealedKeeper::SealedKeeper(std::unique_ptr<SealedStore> store)
    : store_(std::move(store)), sealed_(kPages * kPageSize) {}

SealedKeeper::~SealedKeeper() {
  wipe(sealed_);
}

Result<std::unique_ptr<SealedKeeper>> SealedKeeper::create(const Parts& parts, bool fresh) {
  const SealedStoreOptions options{.medium = parts.medium,
                                   .key = parts.key,
                                   .purpose = kVtpmPurpose,
                                   .anchor = &parts.counter,
                                   .page_count = kPages};
  auto store = TRY(fresh ? SealedStore::create(options) : SealedStore::open(options));
  return std::unique_ptr<SealedKeeper>(new SealedKeeper(std::move(store)));
}

Result<std::vector<std::byte>> SealedKeeper::load() {
  for (std::uint64_t page = 0; page < kPages; ++page) {
    TRY(store_->get(PageIndex(page), page_of(sealed_, page)));
  }
  const auto length = get_le<std::uint32_t>(sealed_, 0);
  if (length > kMaxStateBytes) {
    return Error{Errc::kMalformed, 0, "the TPM's state has no sensible length"};
  }
  const auto state = std::span(sealed_).subspan(kLengthBytes, length);
  return std::vector<std::byte>(state.begin(), state.end());
}

Result<void> SealedKeeper::save(std::span<const std::byte> state) {
  if (state.size() > kMaxStateBytes) {
    return Error{Errc::kExhausted, 0, "the TPM's state is longer than was thought possible"};
  }
  std::vector<std::byte> next(kPages * kPageSize);
  put_le(next, 0, static_cast<std::uint32_t>(state.size()));
  std::ranges::copy(state, next.begin() + kLengthBytes);
  Result<void> put;
  for (std::uint64_t page = 0; page < kPages && put; ++page) {
    if (std::ranges::equal(page_of(next, page), page_of(sealed_, page))) continue;
    put = store_->put(PageIndex(page), page_of(next, page));
  }
  // Also when a page could not be put: those that were are not worth comparing any more.
  sealed_.swap(next);
  wipe(next);
  TRY(put);
  return store_->commit();
}

}  // namespace bulkhead::vtpm
