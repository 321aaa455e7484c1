// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/vsock_greeting.h"

#include <strings.h>

#include <charconv>

#include "devices/virtio/vsock_wire.h"

namespace bulkhead {
namespace {

// Takes the next word off the front of `line`; empty when there is none.
std::string_view next_word(std::string_view& line) {
  constexpr std::string_view kSpace = " \t\r";
  line.remove_prefix(std::min(line.find_first_not_of(kSpace), line.size()));
  const std::string_view word = line.substr(0, line.find_first_of(kSpace));
  line.remove_prefix(word.size());
  return word;
}

}  // namespace

std::optional<std::uint32_t> parse_greeting(std::string_view line) {
  constexpr std::string_view kCommand = "connect";
  const std::string_view command = next_word(line);
  const std::string_view number = next_word(line);
  if (command.size() != kCommand.size()) return std::nullopt;
  if (::strncasecmp(command.data(), kCommand.data(), kCommand.size()) != 0) return std::nullopt;
  if (!next_word(line).empty()) return std::nullopt;
  std::uint32_t port = 0;
  const char* end = number.data() + number.size();
  const auto [stopped, error] = std::from_chars(number.data(), end, port);
  if (number.empty() || error != std::errc{} || stopped != end) return std::nullopt;
  if (port == virtio_vsock::kAnyPort) return std::nullopt;
  return port;
}

}  // namespace bulkhead
