// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/net_tap.h"

#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace bulkhead {
namespace {

using virtio_net::Header;

Error not_a_tap() {
  return Error{Errc::kInvalidArgument, 0,
               "the network descriptor must be /dev/net/tun, attached with IFF_TAP, IFF_NO_PI, "
               "IFF_VNET_HDR and a header of 12 bytes"};
}

Result<void> check_tap(int fd) {
  ifreq request{};
  int header_bytes = 0;
  if (::ioctl(fd, TUNGETIFF, &request) != 0) return not_a_tap();
  if (::ioctl(fd, TUNGETVNETHDRSZ, &header_bytes) != 0) return not_a_tap();
  constexpr short kNeeded = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if ((request.ifr_flags & kNeeded) != kNeeded) return not_a_tap();
  if (header_bytes != sizeof(Header)) return not_a_tap();
  return {};
}

Result<void> check_packet_socket(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0) return not_a_tap();
  if (type != SOCK_DGRAM && type != SOCK_SEQPACKET) return not_a_tap();
  return {};
}

// What the kernel may leave to the driver. TSO stands on checksums (virtio 1.2 §5.1.3.1).
unsigned tun_offloads(std::uint64_t features) {
  if ((features & virtio_net::kGuestCsum) == 0) return 0;
  unsigned offloads = TUN_F_CSUM;
  if ((features & virtio_net::kGuestTso4) != 0) offloads |= TUN_F_TSO4;
  if ((features & virtio_net::kGuestTso6) != 0) offloads |= TUN_F_TSO6;
  const bool segments = (offloads & (TUN_F_TSO4 | TUN_F_TSO6)) != 0;
  if (segments && (features & virtio_net::kGuestEcn) != 0) offloads |= TUN_F_TSO_ECN;
  return offloads;
}

}  // namespace

Result<std::unique_ptr<TapBackend>> TapBackend::create(Fd fd) {
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return os_error("cannot examine the network descriptor");
  const bool is_tap = S_ISCHR(status.st_mode);
  TRY(is_tap ? check_tap(fd.get()) : check_packet_socket(fd.get()));
  TRY(make_nonblocking(fd));
  return std::unique_ptr<TapBackend>(new TapBackend(std::move(fd), is_tap));
}

Result<void> TapBackend::start(std::uint64_t features, std::uint16_t mtu) {
  const unsigned offloads = tun_offloads(features);
  const bool long_frames = (offloads & (TUN_F_TSO4 | TUN_F_TSO6)) != 0;
  max_size_ =
      sizeof(Header) + (long_frames ? virtio_net::kMaxFrame : mtu + virtio_net::kLinkHeader);
  last_size_ = 0;
  waiting_ = 0;
  // One byte more than a frame may have: a longer one shows, it is not cut.
  copy_.resize(max_size_ + 1);
  if (is_tap_ && ::ioctl(fd_.get(), TUNSETOFFLOAD, offloads) != 0) {
    return os_error("cannot set the offloads of the TAP device");
  }
  return {};
}

Result<NetBackend::Sent> TapBackend::send(const Header& header, DmaReader& frame) {
  if (frame.remaining() > virtio_net::kMaxFrame) return Sent::kDropped;
  const auto prefix = std::as_bytes(std::span(&header, 1));
  const Result<std::size_t> written = frame.write_to(fd(), frame.remaining(), prefix);
  if (written) return Sent::kTaken;
  const Error error = written.error();
  switch (error.os_errno) {
    case 0:
      return error;
    case EAGAIN:
    case EINTR:
      return Sent::kBlocked;
    case EPIPE:
    case ECONNREFUSED:
    case ECONNRESET:
    case ENOTCONN:
      return Sent::kClosed;
    default:
      return Sent::kDropped;  // e.g. EINVAL for a bad header, EIO while the interface is down
  }
}

std::size_t TapBackend::wanted_room() const {
  if (waiting_ > 0) return waiting_;
  if (max_size_ <= kCopyLimit || last_size_ > kCopyLimit) return max_size_ + 1;
  return sizeof(Header);
}

Result<NetBackend::Received> TapBackend::receive(DmaWriter& to) {
  if (waiting_ == 0) {
    if (to.remaining() > max_size_) return receive_direct(to);
    const Received fetched = fetch();
    if (fetched.kind != Received::Kind::kFrame) return fetched;
    waiting_ = fetched.size;
  }
  if (to.remaining() < waiting_) return Received{Received::Kind::kNeedsRoom, waiting_};
  TRY(to.write(std::span(copy_).first(waiting_)));
  return Received{Received::Kind::kFrame, std::exchange(waiting_, 0)};
}

Result<NetBackend::Received> TapBackend::receive_direct(DmaWriter& to) {
  const Result<std::size_t> size = to.read_from(fd(), max_size_ + 1);
  if (size) return classify(*size);
  const Error error = size.error();
  if (error.os_errno == 0) return error;
  return Received{would_block(error.os_errno) ? Received::Kind::kNothing : Received::Kind::kClosed};
}

NetBackend::Received TapBackend::fetch() {
  const ssize_t size = ::read(fd(), copy_.data(), copy_.size());
  if (size >= 0) return classify(static_cast<std::size_t>(size));
  return {would_block(errno) ? Received::Kind::kNothing : Received::Kind::kClosed};
}

NetBackend::Received TapBackend::classify(std::size_t size) {
  if (size == 0) return {Received::Kind::kClosed};
  if (size < sizeof(Header) || size > max_size_) return {Received::Kind::kDropped};
  last_size_ = size;
  return {Received::Kind::kFrame, size};
}

}  // namespace bulkhead
