// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/net.h"

#include <sys/epoll.h>

#include <algorithm>

#include "devices/virtio/net_stream.h"
#include "devices/virtio/net_tap.h"
#include "devices/virtio/queue_service.h"

namespace bulkhead {
namespace {

using virtio_net::Header;

constexpr std::uint32_t kStateVersion = 1;
constexpr std::uint16_t kMinMtu = 68;     // RFC 791
constexpr std::uint16_t kMaxMtu = 65521;  // 64 KiB - 1 with the Ethernet header

bool usable_mac(std::span<const std::uint8_t, 6> mac) {
  const bool multicast = (mac[0] & 1) != 0;
  return !multicast && std::ranges::any_of(mac, [](std::uint8_t byte) { return byte != 0; });
}

Result<void> check_config(const virtio_net::Config& config) {
  if (!usable_mac(config.mac)) {
    return Error{Errc::kInvalidArgument, 0, "a MAC address must be neither multicast nor zero"};
  }
  if (config.mtu < kMinMtu || config.mtu > kMaxMtu) {
    return Error{Errc::kInvalidArgument, 0, "an MTU must be from 68 to 65521"};
  }
  return {};
}

virtio_net::Config config_of(const NetOptions& options) {
  virtio_net::Config config;
  std::ranges::copy(options.mac, config.mac);
  config.mtu = options.mtu;
  return config;
}

Result<std::unique_ptr<NetBackend>> create_backend(NetOptions& options) {
  if (options.backend == NetOptions::Backend::kTap) {
    return std::unique_ptr<NetBackend>(TRY(TapBackend::create(std::move(options.fd))));
  }
  return std::unique_ptr<NetBackend>(TRY(StreamBackend::create(std::move(options.fd))));
}

bool gso_allowed(std::uint8_t type, std::uint64_t features) {
  if ((type & virtio_net::kGsoEcn) != 0 && (features & virtio_net::kHostEcn) == 0) return false;
  switch (type & ~virtio_net::kGsoEcn) {
    case virtio_net::kGsoNone:
      return type == virtio_net::kGsoNone;
    case virtio_net::kGsoTcp4:
      return (features & virtio_net::kHostTso4) != 0;
    case virtio_net::kGsoTcp6:
      return (features & virtio_net::kHostTso6) != 0;
    default:
      return false;
  }
}

// The driver's header, if it asks only for what was negotiated (virtio 1.2 §5.1.6.2.1). Offsets
// and sizes are for whoever acts on them to judge, against the frame itself.
std::optional<Header> checked(Header header, std::uint64_t features) {
  header.flags &= virtio_net::kNeedsCsum;
  header.num_buffers = 0;
  if (header.flags != 0 && (features & virtio_net::kCsum) == 0) return std::nullopt;
  if (!gso_allowed(header.gso_type, features)) return std::nullopt;
  return header;
}

}  // namespace

Result<std::unique_ptr<VirtioNet>> VirtioNet::create(NetOptions options, DmaSpace& space,
                                                     EventLoop& loop) {
  const virtio_net::Config config = config_of(options);
  TRY(check_config(config));
  auto backend = TRY(create_backend(options));
  std::unique_ptr<VirtioNet> device(
      new VirtioNet(std::move(backend), config, space, TRY(Fd::event())));
  TRY(device->watch(loop));
  return device;
}

VirtioNet::VirtioNet(std::unique_ptr<NetBackend> backend, const virtio_net::Config& config,
                     DmaSpace& space, Fd again)
    : space_(space),
      backend_(std::move(backend)),
      config_(config),
      receiver_(space, *backend_),
      continuation_(*this),
      again_(std::move(again)) {}

Result<void> VirtioNet::watch(EventLoop& loop) {
  watch_ = TRY(Watch::create(loop, backend_->fd(), interest_, *this));
  again_watch_ = TRY(Watch::create(loop, again_.get(), EPOLLIN, continuation_));
  return {};
}

std::uint64_t VirtioNet::offered_features() const {
  return virtio_net::kMac | virtio_net::kMtu | virtio_net::kStatus | virtio_net::kMrgRxbuf |
         backend_->offloads();
}

void VirtioNet::read_config(std::uint64_t offset, std::span<std::byte> bytes) {
  virtio_net::Config config = config_;
  config.status = link_up_ ? virtio_net::kLinkUp : 0;
  config.max_virtqueue_pairs = 1;
  copy_config(std::as_bytes(std::span(&config, 1)), offset, bytes);
}

// All of it is read-only (virtio 1.2 §5.1.4.2).
void VirtioNet::write_config(std::uint64_t /*offset*/, std::span<const std::byte> /*bytes*/) {}

Result<void> VirtioNet::activate(const VirtioActivation& activation) {
  TRY(backend_->start(activation.features, config_.mtu));
  active_.emplace(activation);
  signal_event(again_.get());  // the rest happens on the loop's thread
  return {};
}

void VirtioNet::reset() {
  active_.reset();
  broken_ = starved_ = blocked_ = false;
  update_interest();
}

Result<void> VirtioNet::process_queue(std::uint16_t queue_index) {
  if (!active_ || broken_) return {};
  Result<void> result;
  if (queue_index == kReceiveQueue && starved_) result = receive();
  if (queue_index == kTransmitQueue && !blocked_) result = transmit();
  broken_ = !result;
  update_interest();
  return result;
}

void VirtioNet::on_ready(std::uint32_t events) {
  MutexLock guard(lock());
  if (active_ && !broken_) {
    if ((events & (EPOLLIN | EPOLLHUP)) != 0) conclude(receive());
    if ((events & EPOLLOUT) != 0 && !broken_) conclude(transmit());
  }
  // Reported whether we ask or not, and for good: a guest without buffers must not make us spin.
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) set_link_down();
  update_interest();
}

void VirtioNet::Continuation::on_ready(std::uint32_t /*events*/) {
  MutexLock guard(owner.lock());
  drain_event(owner.again_.get());
  owner.on_again();
}

void VirtioNet::on_again() {
  if (active_ && !broken_ && !starved_) conclude(receive());
  if (active_ && !broken_ && !blocked_) conclude(transmit());
  update_interest();
}

Result<void> VirtioNet::receive() {
  if (!link_up_) return {};
  VirtQueue& buffers = queue(kReceiveQueue);
  const NetReceiver::Outcome outcome = TRY(receiver_.run(buffers, active_->features));
  starved_ = outcome == NetReceiver::Outcome::kStarved;
  if (outcome == NetReceiver::Outcome::kMore) signal_event(again_.get());
  if (TRY(buffers.wants_interrupt())) active_->interrupts.queue_used(kReceiveQueue);
  if (outcome == NetReceiver::Outcome::kClosed) set_link_down();
  return {};
}

Result<void> VirtioNet::transmit() {
  VirtQueue& frames = queue(kTransmitQueue);
  blocked_ = link_up_ && backend_->unsent() && backend_->flush() == NetBackend::Sent::kBlocked;
  if (blocked_) return {};
  TRY(frames.disable_doorbell());
  TRY(transmit_batch(frames));
  if (TRY(frames.wants_interrupt())) active_->interrupts.queue_used(kTransmitQueue);
  if (!blocked_ && TRY(frames.enable_doorbell())) signal_event(again_.get());
  return {};
}

Result<void> VirtioNet::transmit_batch(VirtQueue& frames) {
  DescriptorChain chain;
  for (unsigned count = 0; count < frames.size() && !blocked_; ++count) {
    if (!TRY(frames.pop(chain))) return {};
    const NetBackend::Sent sent = TRY(send(chain));
    if (sent == NetBackend::Sent::kBlocked) {
      frames.unpop();
      blocked_ = true;
      return {};
    }
    if (sent == NetBackend::Sent::kDropped) drop();
    if (sent == NetBackend::Sent::kClosed) set_link_down();
    TRY(frames.push(chain.head(), 0));
  }
  return {};
}

Result<NetBackend::Sent> VirtioNet::send(const DescriptorChain& chain) {
  DmaReader frame(space_, chain.readable());
  if (!link_up_ || frame.remaining() < sizeof(Header)) return NetBackend::Sent::kDropped;
  const std::optional<Header> header = checked(TRY(frame.read<Header>()), active_->features);
  if (!header) return NetBackend::Sent::kDropped;
  return backend_->send(*header, frame);
}

void VirtioNet::drop() {
  ++dropped_;
  if (link_up_ && limiter_.allow()) {
    log_warning("network-frame-refused", {{"device", name()}, {"dropped", dropped_}});
  }
}

void VirtioNet::set_link_down() {
  if (!link_up_) return;
  link_up_ = false;
  watch_.reset();
  // From now on frames go nowhere, those that were waiting first.
  blocked_ = false;
  signal_event(again_.get());
  log_warning("network-link-down", {{"device", name()}});
  if (active_ && (active_->features & virtio_net::kStatus) != 0) {
    active_->interrupts.config_changed();
  }
}

void VirtioNet::update_interest() {
  std::uint32_t wanted = 0;
  if (active_ && !broken_ && !starved_) wanted |= EPOLLIN;
  if (active_ && !broken_ && (blocked_ || backend_->unsent())) wanted |= EPOLLOUT;
  if (wanted == interest_ || !watch_.active()) return;
  interest_ = wanted;
  if (const Result<void> changed = watch_.change(wanted); !changed) {
    log_failure("network-watch", changed.error(), {{"device", name()}});
    set_link_down();
  }
}

void VirtioNet::conclude(const Result<void>& result) {
  if (result) return;
  broken_ = true;
  active_->interrupts.needs_reset();
  if (limiter_.allow()) log_failure("driver-error", result.error(), {{"device", name()}});
}

void VirtioNet::save(StateWriter& writer) const {
  writer.put(kStateVersion);
  writer.put(config_.mac);
  writer.put(config_.mtu);
}

// The driver knows its address and MTU already, so the saved ones hold, not the options'.
Result<void> VirtioNet::restore(StateReader& reader) {
  if (TRY(reader.get<std::uint32_t>()) != kStateVersion) {
    return Error{Errc::kUnsupported, 0, "the saved network card is of another version"};
  }
  virtio_net::Config config;
  TRY(reader.get_bytes(std::as_writable_bytes(std::span(config.mac))));
  config.mtu = TRY(reader.get<std::uint16_t>());
  TRY(check_config(config));
  config_ = config;
  return {};
}

}  // namespace bulkhead
