// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace bulkhead {

// Ctrl-A and a letter command the console instead of the guest.
enum class EscapeCommand : std::uint8_t { kNone, kQuit, kHelp };

// Splits typed bytes into what the guest gets and what is for us.
class EscapeFilter {
 public:
  struct Typed {
    std::optional<std::byte> byte;  // for the guest
    EscapeCommand command = EscapeCommand::kNone;
  };

  Typed feed(std::byte byte);

 private:
  bool escaped_ = false;
};

}  // namespace bulkhead
