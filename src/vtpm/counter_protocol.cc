// SPDX-License-Identifier: Apache-2.0
#include "vtpm/counter_protocol.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <span>

#include "base/byte_reader.h"

namespace bulkhead::vtpm {
namespace {

constexpr std::size_t kRequestBytes = 40;
constexpr std::size_t kAnswerBytes = 16;
enum class Status : std::uint32_t { kOk = 0, kNone = 1, kFailed = 2 };

Error cannot_be_asked() {
  return Error{Errc::kClosed, 0, "the host's TPM, which counts the TPM's states, cannot be asked"};
}

Result<void> send_whole(int socket, std::span<const std::byte> bytes) {
  ssize_t sent = 0;
  do {
    sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return {};  // a datagram goes whole, or not at all
  return Error{Errc::kClosed, errno, "the other side of the counter's socket has gone"};
}

// Exactly as many bytes as there is room for.
Result<void> receive_whole(int socket, std::span<std::byte> bytes) {
  ssize_t got = 0;
  do {
    got = ::recv(socket, bytes.data(), bytes.size(), MSG_TRUNC);
  } while (got < 0 && errno == EINTR);
  if (got <= 0) return Error{Errc::kClosed, 0, "the other side of the counter's socket has gone"};
  if (static_cast<std::size_t>(got) == bytes.size()) return {};
  return Error{Errc::kMalformed, 0, "a message about a counter has a wrong length"};
}

}  // namespace

Result<void> send_counter_request(int socket, const CounterRequest& request) {
  std::array<std::byte, kRequestBytes> bytes{};
  put_le(bytes, 0, static_cast<std::uint32_t>(request.action));
  put_le(bytes, 4, request.index);
  std::ranges::copy(request.password, bytes.begin() + 8);
  return send_whole(socket, bytes);
}

Result<CounterValue> receive_counter_answer(int socket) {
  std::array<std::byte, kAnswerBytes> bytes{};
  TRY(receive_whole(socket, bytes));
  switch (static_cast<Status>(get_le<std::uint32_t>(bytes, 0))) {
    case Status::kOk:
      return CounterValue{get_le<std::uint32_t>(bytes, 4), get_le<std::uint64_t>(bytes, 8)};
    case Status::kNone:
      return Error{Errc::kNotFound, 0, "there is no TPM of the host's to count"};
    default:
      return cannot_be_asked();
  }
}

Result<CounterRequest> receive_counter_request(int socket) {
  std::array<std::byte, kRequestBytes> bytes{};
  TRY(receive_whole(socket, bytes));
  CounterRequest request{.action = static_cast<CounterAction>(get_le<std::uint32_t>(bytes, 0)),
                         .index = get_le<std::uint32_t>(bytes, 4),
                         .password = {}};
  std::copy_n(bytes.begin() + 8, request.password.size(), request.password.begin());
  if (is_counter_action(request.action)) return request;
  return Error{Errc::kMalformed, 0, "nothing of the kind can be done with a counter"};
}

Result<void> send_counter_answer(int socket, const Result<CounterValue>& answer) {
  std::array<std::byte, kAnswerBytes> bytes{};
  if (answer) {
    put_le(bytes, 4, answer->index);
    put_le(bytes, 8, answer->value);
  } else {
    const bool none = answer.error().code == Errc::kNotFound;
    put_le(bytes, 0, static_cast<std::uint32_t>(none ? Status::kNone : Status::kFailed));
  }
  return send_whole(socket, bytes);
}

}  // namespace bulkhead::vtpm
