// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/fd.h"
#include "devices/tpm.h"

namespace bulkhead::agent {

// The guest's TPM behind Linux's resource manager (/dev/tpmrm0): one write is a command, one read
// its response. What a program leaves in it goes away when the descriptor is closed.
class TpmDevice final : public Tpm {
 public:
  static Result<TpmDevice> open(const char* path);

  Result<std::size_t> execute(TpmLocality locality, std::span<const std::byte> command,
                              std::span<std::byte, kTpmBufferBytes> response) override;
  // The kernel offers programs no way to.
  void cancel() override {}

 private:
  Result<std::size_t> read_response(std::span<std::byte, kTpmBufferBytes> response);

  explicit TpmDevice(Fd device) : device_(std::move(device)) {}

  Fd device_;
};

}  // namespace bulkhead::agent
