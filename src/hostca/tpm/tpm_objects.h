// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tss2/tss2_esys.h>

#include <memory>

#include "attest/tpm_public.h"

// Between our structures and tpm2-tss's.

namespace bulkhead::hostca {

// What tpm2-tss allocated.
struct FreeEsys {
  void operator()(void* memory) const { Esys_Free(memory); }
};
template <class T>
using Owned = std::unique_ptr<T, FreeEsys>;

// TPM2B_PUBLIC of a template or a key; and back.
Result<TPM2B_PUBLIC> to_tss(const TpmPublic& object);
Result<TpmPublic> from_tss(const TPM2B_PUBLIC& object);

// An Error with the kind of a TSS2_RC; the code itself goes to the log.
Error tpm_error(TSS2_RC code, const char* what);

// Copies at most as much as a TPM2B holds; kMalformed if there is more.
template <class Buffer, std::size_t N>
Result<void> fill(UINT16& size, Buffer (&buffer)[N], std::span<const std::byte> bytes) {
  if (bytes.size() > N) return Error{Errc::kMalformed, 0, "too much for a TPM"};
  size = static_cast<UINT16>(bytes.size());
  std::memcpy(buffer, bytes.data(), bytes.size());
  return {};
}

}  // namespace bulkhead::hostca
