// SPDX-License-Identifier: Apache-2.0
#include "crypto/openssl_memory.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/secret_arena.h"

namespace bulkhead {
namespace {

std::atomic<bool> diverting = false;
std::atomic<std::size_t> misses = 0;

void* take(std::size_t size, const char*, int) {
  if (size == 0) return nullptr;
  if (diverting.load(std::memory_order_relaxed)) {
    const std::span<std::byte> bytes = process_secrets()->allocate(size);
    if (!bytes.empty()) return bytes.data();
    misses.fetch_add(1, std::memory_order_relaxed);
  }
  return std::malloc(size);
}

void give_back(void* start, const char*, int) {
  if (process_secrets()->contains(start)) return process_secrets()->release(start);
  std::free(start);
}

void* resize(void* start, std::size_t size, const char* file, int line) {
  if (start == nullptr) return take(size, file, line);
  if (size == 0) {
    give_back(start, file, line);
    return nullptr;
  }
  // What began on the ordinary heap (tables of names) stays there.
  if (!process_secrets()->contains(start)) return std::realloc(start, size);
  const std::span<std::byte> old = process_secrets()->bytes_of(start);
  void* moved = take(size, file, line);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, old.data(), std::min(old.size(), size));
  give_back(start, file, line);
  return moved;
}

// Lets OpenSSL load its providers and fetch what we use: some hundred kilobytes of no secret, which
// would fill the arena.
Result<void> warm_up() {
  static constexpr std::array<std::byte, kAeadKeyBytes> kAnyKey{};
  const SecretBytes key = TRY(hkdf_sha256({.key = kAnyKey}, kAeadKeyBytes));
  TRY(hmac_sha256(key.bytes(), {key.bytes()}));
  AeadCounter counter(1);
  Aead aead = TRY(Aead::create(key));
  TRY(aead.seal(TRY(counter.take()), {.nonce = AeadNonce{}, .associated = {}, .text = {}}, {}));
  return {};
}

}  // namespace

Result<void> keep_openssl_memory_secret() {
  if (process_secrets() == nullptr) return Error{Errc::kExhausted, 0, "no memory for secrets"};
  if (CRYPTO_set_mem_functions(take, resize, give_back) != 1) {
    return Error{Errc::kBusy, 0, "OpenSSL has allocated memory before"};
  }
  TRY(warm_up());
  diverting.store(true, std::memory_order_relaxed);
  return {};
}

std::size_t openssl_allocations_not_secret() {
  return misses.load(std::memory_order_relaxed);
}

}  // namespace bulkhead
