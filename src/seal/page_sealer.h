// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/address.h"
#include "base/result.h"
#include "crypto/aead.h"
#include "crypto/secret_bytes.h"
#include "seal/context_pool.h"
#include "seal/identity.h"

namespace bulkhead {

// Where in a store a sealed block belongs: a page (level 0), or a node of the tree over them.
class SealPlace {
 public:
  static constexpr unsigned kIndexBits = 43;
  static constexpr unsigned kMaxLevel = 7;

  static SealPlace page(PageIndex page) { return SealPlace(0, page.value()); }
  static SealPlace node(unsigned level, std::uint64_t index) { return SealPlace(level, index); }

  bool is_page() const { return value_ >> kIndexBits == 0; }
  // 46 bits: the level in the highest three.
  std::uint64_t value() const { return value_; }

 private:
  SealPlace(unsigned level, std::uint64_t index);

  std::uint64_t value_;
};

// How a block's plaintext is laid out; two bits, authenticated as part of the nonce.
enum class PageKind : std::uint8_t {
  kAbsent = 0,  // no block: zeroes
  kPlain = 1,   // 4096 bytes as they are
  kPacked1K = 2,
  kPacked2K = 3,  // compressed and padded
};

// What opens a sealed block, besides the key and its place.
struct PageSeal {
  std::uint64_t sequence = 0;  // 48 bits; the block's version
  AeadTag tag{};
};

// Seals blocks under the key of one session. Sessions are never continued: whoever opens a store
// begins a new one with a fresh salt, so that no nonce comes twice even if a file is copied or
// rolled back. docs/formats/sealed.md has the derivation. Thread-safe.
class PageSealer {
 public:
  // GCM with unique nonces is distinguishable from random with probability at most
  // (uses * blocks)^2 / 2^129. 2^36 pages of 257 blocks (256 of data, one of tag): 2^-40.9.
  static constexpr std::uint64_t kMaxUses = std::uint64_t{1} << 36;

  struct Options {
    const SecretBytes& partition_key;
    const SealScope& scope;
    const SessionSalt& salt;
    std::uint64_t max_uses = kMaxUses;  // tests have fewer
  };
  static Result<std::unique_ptr<PageSealer>> create(const Options& options);

  struct Text {
    SealPlace place;
    PageKind kind;
    std::span<const std::byte> bytes;
  };
  // kExhausted: a new session has to begin. `ciphertext` has the text's length.
  Result<PageSeal> seal(const Text& plaintext, std::span<std::byte> ciphertext);
  // kMalformed: not what was sealed here with this sequence; `plaintext` is wiped.
  Result<void> open(const Text& ciphertext, const PageSeal& seal, std::span<std::byte> plaintext);

  std::uint64_t uses() const { return counter_.taken(); }

  static AeadNonce nonce(std::uint64_t sequence, SealPlace place, PageKind kind);

 private:
  PageSealer(SecretBytes key, std::uint64_t max_uses)
      : key_(std::move(key)), counter_(max_uses), pool_(key_) {}

  SecretBytes key_;
  AeadCounter counter_;
  ContextPool<Aead> pool_;
};

}  // namespace bulkhead
