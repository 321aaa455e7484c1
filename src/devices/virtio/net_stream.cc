// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/net_stream.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace bulkhead {
namespace {

using virtio_net::Header;

constexpr std::size_t kMinFrame = 14;  // an Ethernet header

std::array<std::byte, 4> encode_length(std::size_t length) {
  return {static_cast<std::byte>(length >> 24), static_cast<std::byte>(length >> 16),
          static_cast<std::byte>(length >> 8), static_cast<std::byte>(length)};
}

std::size_t decode_length(std::span<const std::byte> bytes) {
  std::size_t length = 0;
  for (const std::byte byte : bytes.first(4)) {
    length = length << 8 | std::to_integer<std::size_t>(byte);
  }
  return length;
}

}  // namespace

Result<std::unique_ptr<StreamBackend>> StreamBackend::create(Fd fd) {
  int type = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM) {
    return Error{Errc::kInvalidArgument, 0,
                 "the network descriptor must be a connected stream socket"};
  }
  TRY(make_nonblocking(fd));
  return std::unique_ptr<StreamBackend>(new StreamBackend(std::move(fd)));
}

// What is buffered stays: a stream that lost a part of a frame would make no sense any more.
Result<void> StreamBackend::start(std::uint64_t /*features*/, std::uint16_t mtu) {
  max_frame_ = mtu + virtio_net::kLinkHeader;
  buffer_.resize(kBufferSize);
  return {};
}

Result<NetBackend::Sent> StreamBackend::send(const Header& /*header*/, DmaReader& frame) {
  if (unsent()) {
    const Sent earlier = flush();
    if (earlier != Sent::kTaken) return earlier;
  }
  const std::size_t length = frame.remaining();
  if (length < kMinFrame || length > virtio_net::kMaxFrame) return Sent::kDropped;
  const auto prefix = encode_length(length);
  const Result<std::size_t> written = frame.write_to(fd(), length, prefix);
  if (written) {
    keep_rest(frame, prefix, *written);
    return Sent::kTaken;
  }
  const Error error = written.error();
  if (error.os_errno == 0) return error;
  return would_block(error.os_errno) ? Sent::kBlocked : Sent::kClosed;
}

// A frame whose memory vanishes half-way ends in zeros: the stream has to go on in step.
void StreamBackend::keep_rest(DmaReader& frame, std::span<const std::byte, 4> prefix,
                              std::size_t done) {
  const std::size_t head = done < prefix.size() ? prefix.size() - done : 0;
  const std::size_t body = frame.remaining();
  unsent_.assign(head + body, std::byte{0});
  std::ranges::copy(prefix.last(head), unsent_.begin());
  [[maybe_unused]] const Result<void> copied = frame.read(std::span(unsent_).subspan(head));
}

NetBackend::Sent StreamBackend::flush() {
  const ssize_t count = ::send(fd(), unsent_.data(), unsent_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (count < 0) return would_block(errno) ? Sent::kBlocked : Sent::kClosed;
  unsent_.erase(unsent_.begin(), unsent_.begin() + count);
  return unsent_.empty() ? Sent::kTaken : Sent::kBlocked;
}

Result<NetBackend::Received> StreamBackend::receive(DmaWriter& to) {
  const Received next = next_frame();
  if (next.kind != Received::Kind::kFrame) return next;
  if (to.remaining() < next.size) return Received{Received::Kind::kNeedsRoom, next.size};
  const std::size_t length = next.size - sizeof(Header);
  TRY(to.write_value(Header{}));
  TRY(to.write(buffered().subspan(kPrefix, length)));
  consume(kPrefix + length);
  return next;
}

void StreamBackend::drop_waiting() {
  consume(kPrefix + decode_length(buffered()));
}

NetBackend::Received StreamBackend::next_frame() {
  while (true) {
    if (buffered().size() >= kPrefix) {
      const std::size_t length = decode_length(buffered());
      if (length > virtio_net::kMaxFrame) {
        log_error("network-stream-out-of-step", {{"length", length}});
        return {Received::Kind::kClosed};
      }
      if (buffered().size() - kPrefix >= length) return whole_frame(length);
    }
    const Fill filled = fill();
    if (filled == Fill::kNothing) return {Received::Kind::kNothing};
    if (filled == Fill::kClosed) return {Received::Kind::kClosed};
  }
}

NetBackend::Received StreamBackend::whole_frame(std::size_t length) {
  if (length >= kMinFrame && length <= max_frame_) {
    return {Received::Kind::kFrame, sizeof(Header) + length};
  }
  consume(kPrefix + length);
  return {Received::Kind::kDropped};
}

StreamBackend::Fill StreamBackend::fill() {
  // A part of a frame is left: make sure that the rest fits behind it.
  if (buffer_.size() - begin_ < kPrefix + virtio_net::kMaxFrame) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  const std::span<std::byte> free = std::span(buffer_).subspan(end_);
  const ssize_t count = ::recv(fd(), free.data(), free.size(), MSG_DONTWAIT);
  if (count < 0) return would_block(errno) ? Fill::kNothing : Fill::kClosed;
  if (count == 0) return Fill::kClosed;
  end_ += static_cast<std::size_t>(count);
  return Fill::kMore;
}

void StreamBackend::consume(std::size_t count) {
  begin_ += count;
  if (begin_ == end_) begin_ = end_ = 0;
}

}  // namespace bulkhead
