// SPDX-License-Identifier: Apache-2.0
#include "broker/resource_vault.h"

#include <algorithm>

#include "crypto/aead.h"
#include "crypto/random.h"

namespace bulkhead::broker {
namespace {

// Names have no line feed, so this can be cut in one way only.
std::string associated_text(const ResourceName& name, std::uint64_t version) {
  return "bulkhead/broker/resource/v1\n" + name.tenant + "\n" + name.name + "\n" +
         std::to_string(version);
}

Error changed() {
  return Error{Errc::kMalformed, 0, "the stored resource was changed, or belongs elsewhere"};
}

Result<SecretBytes> open_resource(const ResourceName& name, const SealedResource& sealed,
                                  const SecretBytes& key) {
  AeadNonce nonce;
  AeadTag tag;
  if (sealed.nonce.size() != nonce.size() || sealed.ciphertext.size() <= tag.size())
    return changed();
  const std::span<const std::byte> ciphertext(sealed.ciphertext);
  const std::size_t size = ciphertext.size() - tag.size();
  std::ranges::copy(sealed.nonce, nonce.begin());
  std::ranges::copy(ciphertext.subspan(size), tag.begin());
  const std::string associated = associated_text(name, sealed.version);
  Aead cipher = TRY(Aead::create(key));
  SecretBytes secret = TRY(SecretBytes::create(size));
  const Result<void> opened = cipher.open(
      {.nonce = nonce, .associated = bytes_of(associated), .text = ciphertext.first(size)}, tag,
      secret.bytes());
  if (!opened) return changed();
  return secret;
}

}  // namespace

Result<void> ResourceVault::put(const ResourceName& name, const SecretBytes& secret) {
  if (secret.size() == 0 || secret.size() > kMaxSecretBytes) {
    return Error{Errc::kInvalidArgument, 0, "a resource has 1 byte to 8 KiB"};
  }
  const SecretBytes key = TRY(SecretBytes::random(kResourceKeyBytes));
  SealedResource sealed;
  sealed.version = TRY(store_.next_version());
  sealed.wrapped_key = TRY(token_.wrap(name.tenant, key));
  AeadNonce nonce;
  TRY(random_bytes(nonce));
  sealed.nonce.assign(nonce.begin(), nonce.end());
  sealed.ciphertext.resize(secret.size());
  const std::string associated = associated_text(name, sealed.version);
  Aead cipher = TRY(Aead::create(key));
  AeadCounter counter(1);
  const AeadTag tag =
      TRY(cipher.seal(TRY(counter.take()),
                      {.nonce = nonce, .associated = bytes_of(associated), .text = secret.bytes()},
                      sealed.ciphertext));
  sealed.ciphertext.insert(sealed.ciphertext.end(), tag.begin(), tag.end());
  return store_.put(name, sealed);
}

Result<SecretBytes> ResourceVault::get(const ResourceName& name) {
  const std::optional<SealedResource> sealed = TRY(store_.get(name));
  if (!sealed) return Error{Errc::kNotFound, 0, "the tenant has no such resource"};
  const SecretBytes key = TRY(token_.unwrap(name.tenant, sealed->wrapped_key));
  if (key.size() != kResourceKeyBytes) return changed();
  return open_resource(name, *sealed, key);
}

}  // namespace bulkhead::broker
