// SPDX-License-Identifier: Apache-2.0
#include "seal/page_sealer.h"

#include "base/byte_reader.h"
#include "seal/key_derivation.h"

namespace bulkhead {

SealPlace::SealPlace(unsigned level, std::uint64_t index)
    : value_(std::uint64_t{level} << kIndexBits | index) {
  CHECK(level <= kMaxLevel && index >> kIndexBits == 0);
}

Result<std::unique_ptr<PageSealer>> PageSealer::create(const Options& options) {
  CHECK(options.max_uses <= kMaxUses);
  SecretBytes key = TRY(
      derive_seal_key(options.partition_key, options.scope, KeyRole::kPages, options.salt.bytes()));
  return std::unique_ptr<PageSealer>(new PageSealer(std::move(key), options.max_uses));
}

AeadNonce PageSealer::nonce(std::uint64_t sequence, SealPlace place, PageKind kind) {
  constexpr unsigned kKindShift = 46;
  const std::uint64_t what = place.value() | std::uint64_t{static_cast<std::uint8_t>(kind)}
                                                 << kKindShift;
  // 48 bits each, little-endian: the second store covers the first one's upper two bytes.
  AeadNonce nonce;
  put_le(nonce, 0, sequence);
  put_le(nonce, 6, static_cast<std::uint32_t>(what));
  put_le(nonce, 10, static_cast<std::uint16_t>(what >> 32));
  return nonce;
}

Result<PageSeal> PageSealer::seal(const Text& plaintext, std::span<std::byte> ciphertext) {
  AeadUse use = TRY(counter_.take());
  ContextPool<Aead>::Lease aead = TRY(pool_.borrow());
  PageSeal seal;
  seal.sequence = use.number();
  const AeadNonce iv = nonce(seal.sequence, plaintext.place, plaintext.kind);
  seal.tag = TRY(aead->seal(std::move(use),
                            {.nonce = iv, .associated = {}, .text = plaintext.bytes}, ciphertext));
  return seal;
}

Result<void> PageSealer::open(const Text& ciphertext, const PageSeal& seal,
                              std::span<std::byte> plaintext) {
  ContextPool<Aead>::Lease aead = TRY(pool_.borrow());
  const AeadNonce iv = nonce(seal.sequence, ciphertext.place, ciphertext.kind);
  return aead->open({.nonce = iv, .associated = {}, .text = ciphertext.bytes}, seal.tag, plaintext);
}

}  // namespace bulkhead
