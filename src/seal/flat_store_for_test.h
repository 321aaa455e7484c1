// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <vector>

#include "crypto/aead.h"
#include "crypto/random.h"
#include "seal/store_for_test.h"

namespace bulkhead {

// What a store would be without a tree: each page sealed by itself, with nonce and tag beside it,
// bound neither to its place nor to its version. The control of the attacks: here they succeed.
class FlatStore {
 public:
  static constexpr std::size_t kSlotBytes = sizeof(AeadNonce) + sizeof(AeadTag) + kPageSize;

  explicit FlatStore(std::size_t pages) : bytes(pages * kSlotBytes) {}

  void put(std::size_t index, const Page& page) {
    const std::span slot = slot_of(index);
    AeadNonce nonce;
    CHECK(random_bytes(nonce));
    const AeadTag tag =
        aead_
            .seal(counter_.take().value(), {.nonce = nonce, .associated = {}, .text = page},
                  slot.last<kPageSize>())
            .value();
    std::ranges::copy(nonce, slot.begin());
    std::ranges::copy(tag, slot.subspan(sizeof nonce).begin());
  }

  Result<Page> get(std::size_t index) {
    const std::span slot = slot_of(index);
    AeadNonce nonce;
    AeadTag tag;
    Page page;
    std::copy_n(slot.begin(), nonce.size(), nonce.begin());
    std::copy_n(slot.begin() + sizeof nonce, tag.size(), tag.begin());
    TRY(aead_.open({.nonce = nonce, .associated = {}, .text = slot.last<kPageSize>()}, tag, page));
    return page;
  }

  std::span<std::byte, kSlotBytes> slot_of(std::size_t index) {
    return std::span(bytes).subspan(index * kSlotBytes).first<kSlotBytes>();
  }

  std::vector<std::byte> bytes;

 private:
  Aead aead_ = Aead::create(SecretBytes::random(kAeadKeyBytes).value()).value();
  AeadCounter counter_{1000};
};

}  // namespace bulkhead
