// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"

namespace bulkhead {

// Who sends a command (TCG PTP 1.05, "Locality"). Ordinary software has 0; the monitor measures
// with 3 and 4.
enum class TpmLocality : std::uint8_t { k0, k1, k2, k3, k4 };
inline constexpr std::size_t kTpmLocalities = 5;

// The longest command, and the longest response: what the CRB's data buffer holds.
inline constexpr std::size_t kTpmBufferBytes = 0xf80;

// A TPM 2.0 behind whatever interface shows it to the guest.
class Tpm {
 public:
  virtual ~Tpm() = default;

  // Runs one command, which may take many seconds, and returns the length of the response. An error
  // means that there is no TPM any more, or that it does not answer. One call at a time.
  virtual Result<std::size_t> execute(TpmLocality locality, std::span<const std::byte> command,
                                      std::span<std::byte, kTpmBufferBytes> response) = 0;
  // Asks the command under way to end early. Any thread; without a command nothing happens.
  virtual void cancel() = 0;
};

}  // namespace bulkhead
