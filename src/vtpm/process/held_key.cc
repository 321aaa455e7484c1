// SPDX-License-Identifier: Apache-2.0
#include "vtpm/process/held_key.h"

#include <unistd.h>

namespace bulkhead::vtpm {

Result<HeldKey> HeldKey::read(int pipe) {
  SecretBytes key = TRY(SecretBytes::create(kPartitionKeyBytes));
  // A pipe gives what was written at once, which is less than its atomic size.
  const ssize_t got = ::read(pipe, key.bytes().data(), key.size());
  if (got < 0) return os_error("cannot read the TPM's key");
  if (static_cast<std::size_t>(got) != key.size()) {
    return Error{Errc::kTruncated, 0, "the TPM's key is too short"};
  }
  return HeldKey(std::move(key));
}

Result<SecretBytes> HeldKey::key() {
  if (key_.size() == 0) return Error{Errc::kClosed, 0, "the key was erased"};
  return key_.clone();
}

Result<void> HeldKey::erase() {
  key_.reset();
  return {};
}

}  // namespace bulkhead::vtpm
