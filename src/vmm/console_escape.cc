// SPDX-License-Identifier: Apache-2.0
#include "vmm/console_escape.h"

#include <utility>

namespace bulkhead {
namespace {

constexpr std::byte kCtrlA{0x01};

}  // namespace

EscapeFilter::Typed EscapeFilter::feed(std::byte byte) {
  if (!std::exchange(escaped_, false)) {
    if (byte != kCtrlA) return {byte, EscapeCommand::kNone};
    escaped_ = true;
    return {};
  }
  switch (std::to_integer<char>(byte)) {
    case 'x':
      return {{}, EscapeCommand::kQuit};
    case 'c':
    case 'h':
    case '?':
      return {{}, EscapeCommand::kHelp};
    case 0x01:
      return {byte, EscapeCommand::kNone};
    default:
      return {};  // not a command: neither key reaches the guest
  }
}

}  // namespace bulkhead
