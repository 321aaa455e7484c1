// SPDX-License-Identifier: Apache-2.0
#include "vtpm/protocol.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>

#include "base/byte_reader.h"

namespace bulkhead::vtpm {
namespace {

constexpr std::uint32_t kFirstType = 1;
constexpr std::uint32_t kLastType = 5;

Error gone() {
  return Error{Errc::kClosed, 0, "the other side of the TPM's socket has gone"};
}

}  // namespace

Result<Message> parse_message(std::span<const std::byte> datagram) {
  ByteReader reader(datagram);
  const auto type = TRY(reader.read<std::uint32_t>());
  if (type < kFirstType || type > kLastType) {
    return Error{Errc::kMalformed, 0, "a message of a type that does not exist"};
  }
  Message message{.type = static_cast<MessageType>(type)};
  message.sequence = TRY(reader.read<std::uint32_t>());
  message.value = TRY(reader.read<std::uint32_t>());
  const auto length = TRY(reader.read<std::uint32_t>());
  if (length > kMaxPayloadBytes || length != reader.remaining()) {
    return Error{Errc::kMalformed, 0, "a message whose length is not its datagram's"};
  }
  message.payload = TRY(reader.take(length));
  return message;
}

Error to_error(Status status) {
  switch (status) {
    case Status::kOk:
    case Status::kRefused:
      break;
    case Status::kTpmFailed:
      return Error{Errc::kIo, 0, "the TPM failed"};
    case Status::kStateDamaged:
      return Error{Errc::kMalformed, 0, "the TPM's state was changed, or is damaged"};
    case Status::kStateOlder:
      return Error{Errc::kRolledBack, 0, "the TPM's state is not the newest: rolled back"};
    case Status::kStateKey:
      return Error{Errc::kPermission, 0, "the TPM's state was sealed with another key"};
    case Status::kStateIo:
      return Error{Errc::kIo, 0, "the TPM's state cannot be read or written"};
    case Status::kStateFull:
      return Error{Errc::kExhausted, 0, "there is no space for the TPM's state"};
    case Status::kNotCounted:
      return Error{Errc::kUnsupported, 0,
                   "the host's TPM counts this TPM's states, and cannot be asked: is bulkheadd "
                   "running, and the host the same?"};
  }
  return Error{Errc::kInvalidArgument, 0, "the TPM refused a request"};
}

Result<void> send_message(int socket, const Message& message) {
  CHECK(message.payload.size() <= kMaxPayloadBytes);
  std::array<std::byte, kHeaderBytes> header;
  put_le(header, 0, static_cast<std::uint32_t>(message.type));
  put_le(header, 4, message.sequence);
  put_le(header, 8, message.value);
  put_le(header, 12, static_cast<std::uint32_t>(message.payload.size()));
  // sendmsg(2) only reads what it is given.
  std::array<iovec, 2> parts{
      {{header.data(), header.size()},
       {const_cast<std::byte*>(message.payload.data()), message.payload.size()}}};
  msghdr whole{};
  whole.msg_iov = parts.data();
  whole.msg_iovlen = parts.size();
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket, &whole, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return {};  // a datagram goes whole, or not at all
  if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN) return gone();
  return os_error("cannot send to the other side of the TPM's socket");
}

Result<Message> receive_message(int socket, DatagramBuffer& buffer) {
  ssize_t got = 0;
  do {
    got = ::recv(socket, buffer.data(), buffer.size(), MSG_TRUNC);
  } while (got < 0 && errno == EINTR);
  if (got == 0 || (got < 0 && (errno == ECONNRESET || errno == ENOTCONN))) return gone();
  if (got < 0) return os_error("cannot receive from the other side of the TPM's socket");
  const auto length = static_cast<std::size_t>(got);
  if (length > buffer.size()) return Error{Errc::kMalformed, 0, "a message that is too long"};
  return parse_message(std::span(buffer).first(length));
}

}  // namespace bulkhead::vtpm
