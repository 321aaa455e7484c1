// SPDX-License-Identifier: Apache-2.0
#include "seal/key_source.h"

namespace bulkhead {

Result<EphemeralKey> EphemeralKey::create() {
  return EphemeralKey(TRY(SecretBytes::random(kPartitionKeyBytes)));
}

Result<SecretBytes> EphemeralKey::key() {
  if (key_.size() == 0) return Error{Errc::kClosed, 0, "the key was erased"};
  return key_.clone();
}

Result<void> EphemeralKey::erase() {
  key_.reset();
  return {};
}

}  // namespace bulkhead
