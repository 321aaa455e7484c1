// SPDX-License-Identifier: Apache-2.0
// Arbitrary accesses to the TPM's interface, by all localities, in front of a TPM that answers with
// anything of any length, and saving and (hostile) restoring of the device's state.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/byte_reader.h"
#include "base/check.h"
#include "base/log.h"
#include "devices/fakes_for_test.h"
#include "devices/tpm_crb.h"

namespace bulkhead {
namespace {

class FuzzTpm final : public Tpm {
 public:
  Result<std::size_t> execute(TpmLocality locality, std::span<const std::byte> command,
                              std::span<std::byte, kTpmBufferBytes> response) override {
    CHECK(command.size() >= 10 && command.size() <= kTpmBufferBytes);
    CHECK(locality != TpmLocality::k4);
    const auto kind = std::to_integer<std::uint8_t>(command[9]);
    if (kind == 0xff) return Error{Errc::kClosed, 0, "the TPM has gone"};
    std::ranges::copy(command, response.begin());
    return kind * std::size_t{16};
  }
  void cancel() override {}
};

void restore(TpmCrb& device, std::span<const std::byte> bytes) {
  StateReader reader(bytes);
  if (!device.restore(reader)) return;
  // What was accepted is a state that can be saved, and restored again.
  const std::vector<std::byte> saved = state_of(device);
  CHECK(restore_state(device, saved));
}

// A whole state with a few of its bytes replaced: a random one is never long enough.
Result<void> restore_changed(TpmCrb& device, ByteReader& input) {
  std::vector<std::byte> state = state_of(device);
  const auto changes = TRY(input.read<std::uint8_t>());
  for (unsigned i = 0; i < changes % 4U; ++i) {
    const auto at = TRY(input.read<std::uint8_t>());
    state[at % 16] = static_cast<std::byte>(TRY(input.read<std::uint8_t>()));
  }
  restore(device, state);
  return {};
}

Result<void> step(TpmCrb& device, ByteReader& input) {
  const auto command = TRY(input.read<std::uint8_t>());
  const std::uint64_t offset = TRY(input.read<std::uint16_t>()) % tpm_crb::kBytes;
  const std::size_t size = std::min<std::uint64_t>(1U << command % 4, tpm_crb::kBytes - offset);
  std::array<std::byte, 8> bytes{};
  switch (command / 4 % 8) {
    case 0:
    case 1:
      device.read(offset, std::span(bytes).first(size));
      break;
    case 2:
      // Without it nothing would be the same twice: the command runs on another thread.
      device.quiesce();
      break;
    case 3:
      device.quiesce();
      return restore_changed(device, input);
    default:
      device.write(offset, TRY(input.take(size)));
      if (command < 0x80) device.quiesce();
      break;
  }
  return {};
}

}  // namespace
}  // namespace bulkhead

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  bulkhead::set_log_level(bulkhead::LogLevel::kError);
  bulkhead::FuzzTpm tpm;
  const auto device = bulkhead::TpmCrb::create(tpm).value();
  bulkhead::ByteReader input(std::as_bytes(std::span(data, size)));
  // Ends with the input: each step takes some of it, or fails.
  while (bulkhead::step(*device, input)) {
  }
  return 0;
}
