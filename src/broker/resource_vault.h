// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "broker/key_token.h"
#include "broker/resource_store.h"

namespace bulkhead::broker {

// Resources in the clear on this side, sealed in the store: AES-256-GCM under a key of their own
// each, which the token wraps. Tenant, name and version are authenticated: a resource that was put
// in another's place does not open.
class ResourceVault {
 public:
  ResourceVault(ResourceStore& store, KeyToken& token) : store_(store), token_(token) {}

  Result<void> put(const ResourceName& name, const SecretBytes& secret);
  // kNotFound if there is none, kMalformed if it was changed; what the token says if that fails.
  Result<SecretBytes> get(const ResourceName& name);

 private:
  ResourceStore& store_;
  KeyToken& token_;
};

}  // namespace bulkhead::broker
