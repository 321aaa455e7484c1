// SPDX-License-Identifier: Apache-2.0
#include "seal/page_digests.h"

namespace bulkhead {

Result<std::unique_ptr<PageDigests>> PageDigests::create(std::uint64_t page_count) {
  Digests digests(static_cast<Digest*>(std::calloc(page_count, sizeof(Digest))));
  if (digests == nullptr) {
    return Error{Errc::kExhausted, 0, "no memory for the digests of a store's pages"};
  }
  SecretBytes key = TRY(KeyedDigest::make_key());
  return std::unique_ptr<PageDigests>(new PageDigests(std::move(key), std::move(digests)));
}

Result<PageDigests::Digest> PageDigests::of(PageIndex page, ConstPageBytes content) {
  ContextPool<KeyedDigest>::Lease digest = TRY(pool_.borrow());
  return digest->of(page.value(), content);
}

void PageDigests::clear(PageIndex page) {
  Digest& digest = digests_[page.value()];
  if (digest != Digest{}) digest = {};  // memory that was never written to stays untouched
}

}  // namespace bulkhead
