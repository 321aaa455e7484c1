// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/vsock_connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <string_view>

#include "devices/virtio/vsock_greeting.h"

namespace bulkhead {

using virtio_vsock::Header;
using virtio_vsock::Op;

namespace {

// Edge-triggered: a socket that has to wait, for credit or for a buffer of the guest, costs nothing
// meanwhile. Whatever was reported is remembered in readable_ until a read finds nothing.
constexpr std::uint32_t kEvents = EPOLLIN | EPOLLRDHUP | EPOLLET;

// virtio 1.2 sets no limit to a packet; this is Linux's.
constexpr std::uint32_t kMaxPayload = 64 * 1024;

bool would_block(int error_number) {
  return error_number == EAGAIN || error_number == EINTR;
}

}  // namespace

VsockConnection::VsockConnection(Owner& owner, Fd socket, const Setup& setup)
    : owner_(owner),
      socket_(std::move(socket)),
      ports_(setup.ports),
      state_(setup.state),
      opening_due_(setup.state == State::kEstablished),
      window_(setup.window),
      buffer_(setup.window) {}

Result<void> VsockConnection::watch(EventLoop& loop) {
  watch_ = TRY(Watch::create(loop, socket_.get(), kEvents, *this));
  return {};
}

void VsockConnection::kill() {
  state_ = State::kDead;
  watch_.reset();
  socket_.reset();
}

void VsockConnection::note_events(std::uint32_t events) {
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable_ = true;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) ended_ = true;
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
    hung_up_ = true;
    write_failed();
    // Nobody will read it: what the peer left behind is not worth keeping the connection.
    if ((peer_shutdown_ & virtio_vsock::kShutdownReceive) != 0) {
      own_shutdown_ |= virtio_vsock::kShutdownSend;
    }
  } else if ((events & EPOLLOUT) != 0) {
    flush();
  }
}

// The line is looked at first, and then taken alone: what follows it is for the guest.
VsockConnection::Greeting VsockConnection::read_greeting() {
  std::array<char, kMaxGreeting> bytes;
  const ssize_t count = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
  if (count < 0 && would_block(errno)) return Greeting::kIncomplete;
  if (count <= 0) return Greeting::kBad;
  const std::string_view seen(bytes.data(), static_cast<std::size_t>(count));
  const std::size_t end = seen.find('\n');
  if (end == std::string_view::npos) {
    return seen.size() == kMaxGreeting ? Greeting::kBad : Greeting::kIncomplete;
  }
  const auto port = parse_greeting(seen.substr(0, end));
  if (!port) return Greeting::kBad;
  if (::recv(socket_.get(), bytes.data(), end + 1, MSG_DONTWAIT) < 0) return Greeting::kBad;
  ports_.guest = *port;
  state_ = State::kRequested;
  opening_due_ = true;
  return Greeting::kComplete;
}

void VsockConnection::take_credit(const Header& header) {
  peer_window_ = header.buf_alloc;
  peer_forwarded_ = header.fwd_cnt;
  if (credit() > 0) credit_request_due_ = false;
}

// How many bytes the guest has room for (virtio 1.2 §5.10.6.3). Numbers that make no sense are no
// credit; sensible or not, they bound only what goes into the guest's own buffers.
std::uint32_t VsockConnection::credit() const {
  const std::uint32_t under_way = sent_ - peer_forwarded_;
  return under_way < peer_window_ ? peer_window_ - under_way : 0;
}

bool VsockConnection::take_response() {
  if (state_ != State::kRequested || !request_sent_) return false;
  std::array<char, 32> answer;
  const int length = std::snprintf(answer.data(), answer.size(), "OK %u\n", ports_.host);
  const auto size = static_cast<std::size_t>(length);
  const ssize_t sent = ::send(socket_.get(), answer.data(), size, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent != length) return false;
  state_ = State::kEstablished;
  deadline_ms_ = 0;
  readable_ = true;
  return true;
}

Result<bool> VsockConnection::take_data(DmaReader& payload, std::uint32_t length) {
  if ((peer_shutdown_ & virtio_vsock::kShutdownSend) != 0) return false;
  // received_ - forwarded_ bytes lie in the buffer, so what the credit allows fits there.
  if (length > window_ - (received_ - forwarded_)) return false;
  received_ += length;
  std::uint32_t left = length;
  if (buffer_.empty()) left -= TRY(write_now(payload, length));
  while (left > 0) {
    const auto space = buffer_.space();
    const std::size_t count = std::min<std::size_t>(space.size(), left);
    TRY(payload.read(space.first(count)));
    buffer_.append(count);
    left -= static_cast<std::uint32_t>(count);
  }
  update_watch();
  return true;
}

// Straight from the guest's memory into the socket. Returns how much need not be kept.
Result<std::uint32_t> VsockConnection::write_now(DmaReader& payload, std::uint32_t length) {
  std::uint32_t done = length;  // what can go nowhere any more counts as passed on
  if (!write_closed_ && length > 0) {
    const Result<std::size_t> written = payload.write_to(socket_.get(), length);
    if (written) {
      done = static_cast<std::uint32_t>(*written);
    } else if (written.error().os_errno == 0) {
      return written.error();
    } else if (would_block(written.error().os_errno)) {
      done = 0;
    } else {
      write_failed();
    }
  }
  forward(done);
  return done;
}

void VsockConnection::flush() {
  while (!buffer_.empty()) {
    const auto bytes = buffer_.front();
    const ssize_t count =
        ::send(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0) {
      if (!would_block(errno)) write_failed();
      break;
    }
    buffer_.drop_front(static_cast<std::size_t>(count));
    forward(static_cast<std::uint32_t>(count));
  }
  update_watch();
}

void VsockConnection::forward(std::uint32_t count) {
  forwarded_ += count;
  // Often enough that the guest does not stop, rarely enough to cost little.
  if (forwarded_ - told_forwarded_ >= window_ / 2) credit_update_due_ = true;
}

// The socket's reader is gone.
void VsockConnection::write_failed() {
  write_closed_ = true;
  own_shutdown_ |= virtio_vsock::kShutdownReceive;
  forward(static_cast<std::uint32_t>(buffer_.size()));
  buffer_.drop_front(buffer_.size());
  update_watch();
}

void VsockConnection::take_shutdown(std::uint32_t flags) {
  peer_shutdown_ |= flags & virtio_vsock::kShutdownBoth;
  if ((peer_shutdown_ & virtio_vsock::kShutdownReceive) != 0) {
    ::shutdown(socket_.get(), SHUT_RD);
  }
  update_watch();
}

// Also ends the writing side once the guest's last byte went out.
void VsockConnection::update_watch() {
  const bool ended = (peer_shutdown_ & virtio_vsock::kShutdownSend) != 0;
  if (ended && buffer_.empty() && !write_closed_) {
    ::shutdown(socket_.get(), SHUT_WR);
    write_closed_ = true;
  }
  const bool wanted = !buffer_.empty();
  if (wanted == watching_write_ || !watch_.active()) return;
  const std::uint32_t extra = wanted ? EPOLLOUT : 0U;
  if (watch_.change(kEvents | extra)) watching_write_ = wanted;
}

bool VsockConnection::finished() const {
  return peer_shutdown_ == virtio_vsock::kShutdownBoth && buffer_.empty();
}

bool VsockConnection::may_send_data() const {
  if (state_ != State::kEstablished || !readable_) return false;
  if ((peer_shutdown_ & virtio_vsock::kShutdownReceive) != 0) return false;
  return (own_shutdown_ & virtio_vsock::kShutdownSend) == 0;
}

bool VsockConnection::has_packet() const {
  if (state_ == State::kGreeting || state_ == State::kDead) return false;
  if (opening_due_) return true;
  if (state_ != State::kEstablished) return false;
  if (credit_update_due_ || own_shutdown_ != told_shutdown_) return true;
  return may_send_data() && (credit() > 0 || !credit_request_due_);
}

Result<bool> VsockConnection::next_packet(Header& header, DmaWriter& payload) {
  if (!has_packet()) return false;
  if (opening_due_) {
    opening_due_ = false;
    request_sent_ = state_ == State::kRequested;
    make_packet(header, request_sent_ ? Op::kRequest : Op::kResponse);
    return true;
  }
  if (may_send_data() && credit() > 0 && TRY(read_data(header, payload))) return true;
  if (own_shutdown_ != told_shutdown_) {
    told_shutdown_ = own_shutdown_;
    make_packet(header, Op::kShutdown);
    header.flags = own_shutdown_;
    return true;
  }
  if (credit_update_due_) {
    make_packet(header, Op::kCreditUpdate);
    return true;
  }
  if (may_send_data() && credit() == 0 && !credit_request_due_) {
    credit_request_due_ = true;
    make_packet(header, Op::kCreditRequest);
    return true;
  }
  return false;
}

// Straight from the socket into the guest's buffer. False when there was nothing to read.
Result<bool> VsockConnection::read_data(Header& header, DmaWriter& payload) {
  if (payload.remaining() == 0) {
    return Error{Errc::kMalformed, 0, "a receive buffer has no room for data"};
  }
  const std::uint64_t wanted =
      std::min<std::uint64_t>({payload.remaining(), credit(), kMaxPayload});
  const Result<std::size_t> count = payload.read_from(socket_.get(), wanted);
  if (!count && count.error().os_errno == 0) return count.error();
  const bool blocked = !count && would_block(count.error().os_errno);
  const std::size_t got = count ? *count : 0;
  // A short read empties a stream, and epoll tells of more; but of its end it told already.
  if (blocked || (got < wanted && !ended_)) readable_ = false;
  if (blocked) return false;
  if (got == 0) {
    own_shutdown_ |= virtio_vsock::kShutdownSend;
    return false;
  }
  sent_ += static_cast<std::uint32_t>(got);
  make_packet(header, Op::kRw);
  header.len = static_cast<std::uint32_t>(got);
  return true;
}

void VsockConnection::make_packet(Header& header, Op op) {
  header.src_cid = virtio_vsock::kHostCid;
  header.src_port = ports_.host;
  header.dst_port = ports_.guest;
  header.type = virtio_vsock::kTypeStream;
  header.op = op;
  header.buf_alloc = window_;
  header.fwd_cnt = forwarded_;
  // Every packet tells the credit.
  told_forwarded_ = forwarded_;
  credit_update_due_ = false;
}

}  // namespace bulkhead
