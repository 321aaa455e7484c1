// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace bulkhead {

// A client of the host opens with a line "CONNECT <port>\n", and is answered "OK <host port>\n"
// once the guest has accepted.
inline constexpr std::size_t kMaxGreeting = 256;

// The port that a line, without its newline, asks for; nothing when it is not of that form. As
// Firecracker's users know it, CONNECT may be in any case, and spaces may surround the words.
std::optional<std::uint32_t> parse_greeting(std::string_view line);

}  // namespace bulkhead
