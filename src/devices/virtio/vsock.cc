// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/vsock.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "devices/virtio/queue_service.h"

namespace bulkhead {

using virtio_vsock::Header;
using virtio_vsock::Op;

namespace {

constexpr std::uint32_t kStateVersion = 1;
constexpr unsigned kMaxAccepts = 16;  // per call

std::int64_t now_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

Result<Fd> create_timer() {
  Fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!timer.valid()) return os_error("cannot create a timer");
  return timer;
}

}  // namespace

Result<std::unique_ptr<VirtioVsock>> VirtioVsock::create(const VsockOptions& options,
                                                         DmaSpace& space, EventLoop& loop) {
  if (options.guest_cid < virtio_vsock::kMinGuestCid ||
      options.guest_cid > virtio_vsock::kMaxGuestCid) {
    return Error{Errc::kInvalidArgument, 0, "a guest's CID must be from 3 to 4294967294"};
  }
  VsockListener listener = TRY(VsockListener::create(options.path));
  std::unique_ptr<VirtioVsock> device(new VirtioVsock(options, space, loop, std::move(listener)));
  TRY(device->watch());
  return device;
}

VirtioVsock::VirtioVsock(const VsockOptions& options, DmaSpace& space, EventLoop& loop,
                         VsockListener listener)
    : options_(options),
      space_(space),
      loop_(loop),
      listener_(std::move(listener)),
      clients_handler_(*this, &VirtioVsock::on_clients),
      timer_handler_(*this, &VirtioVsock::on_timer),
      again_handler_(*this, &VirtioVsock::on_again) {}

Result<void> VirtioVsock::watch() {
  timer_ = TRY(create_timer());
  again_ = TRY(Fd::event());
  clients_watch_ = TRY(Watch::create(loop_, listener_.fd(), 0, clients_handler_));
  timer_watch_ = TRY(Watch::create(loop_, timer_.get(), EPOLLIN, timer_handler_));
  again_watch_ = TRY(Watch::create(loop_, again_.get(), EPOLLIN, again_handler_));
  return {};
}

void VirtioVsock::Handler::on_ready(std::uint32_t /*events*/) {
  MutexLock guard(owner.lock());
  (owner.*call)();
}

// virtio 1.2 §5.10.4: the guest's CID.
void VirtioVsock::read_config(std::uint64_t offset, std::span<std::byte> bytes) {
  copy_config(std::as_bytes(std::span(&options_.guest_cid, 1)), offset, bytes);
}

void VirtioVsock::write_config(std::uint64_t /*offset*/, std::span<const std::byte> /*bytes*/) {}

// Clients are accepted, and their time begins to run, once there is a driver.
Result<void> VirtioVsock::activate(const VirtioActivation& activation) {
  active_.emplace(activation);
  listen(true);
  signal_event(again_.get());  // the rest happens on the loop's thread
  return {};
}

void VirtioVsock::reset() {
  listen(false);
  active_.reset();
  broken_ = transmit_held_ = event_due_ = false;
  table_.clear();
  ready_.clear();
  replies_.clear();
  signal_event(again_.get());
}

Result<void> VirtioVsock::process_queue(std::uint16_t queue_index) {
  if (!running()) return {};
  const Result<void> result = handle_queue(queue_index);
  if (!result) give_up();
  return result;
}

Result<void> VirtioVsock::handle_queue(std::uint16_t queue_index) {
  switch (queue_index) {
    case kReceiveQueue:
      return send_packets();
    case kTransmitQueue:
      TRY(take_packets());
      return send_packets();
    case kEventQueue:
      return send_event();
    default:
      return {};
  }
}

void VirtioVsock::on_again() {
  drain_event(again_.get());
  table_.free_removed();
  if (running()) conclude(send_event());
  if (running()) conclude(take_packets());
  if (running()) conclude(send_packets());
}

void VirtioVsock::connection_ready(VsockConnection& connection, std::uint32_t events) {
  MutexLock guard(lock());
  if (!running() || connection.state() == VsockConnection::State::kDead) return;
  connection.note_events(events);
  if (connection.state() == VsockConnection::State::kGreeting) greet(connection);
  settle(connection);
  conclude(send_packets());
}

Result<void> VirtioVsock::take_packets() {
  VirtQueue& packets = queue(kTransmitQueue);
  TRY(packets.disable_doorbell());
  DescriptorChain chain;
  for (unsigned count = 0; count < packets.size(); ++count) {
    transmit_held_ = replies_.size() >= kMaxReplies;
    if (transmit_held_ || !TRY(packets.pop(chain))) break;
    TRY(take_packet(chain));
    TRY(packets.push(chain.head(), 0));
  }
  if (TRY(packets.wants_interrupt())) active_->interrupts.queue_used(kTransmitQueue);
  if (!transmit_held_ && TRY(packets.enable_doorbell())) signal_event(again_.get());
  return {};
}

Result<void> VirtioVsock::take_packet(const DescriptorChain& chain) {
  DmaReader packet(space_, chain.readable());
  if (packet.remaining() < sizeof(Header)) {
    refuse_packet("shorter than its header");
    return {};
  }
  const Header header = TRY(packet.read<Header>());
  if (header.src_cid != options_.guest_cid || header.dst_cid != virtio_vsock::kHostCid) {
    refuse_packet("from or for another CID");
    return {};
  }
  return dispatch(header, packet);
}

Result<void> VirtioVsock::dispatch(const Header& header, DmaReader& payload) {
  const VsockPorts ports{.host = header.dst_port, .guest = header.src_port};
  VsockConnection* connection = table_.find(ports);
  const bool sound = header.type == virtio_vsock::kTypeStream && header.len <= payload.remaining();
  if (!sound) refuse_packet("of an unknown type, or shorter than it says");
  if (header.op == Op::kRst) {
    if (connection != nullptr) close(*connection);
  } else if (connection == nullptr) {
    // virtio 1.2 §5.10.6.4.1: also the answer to an unknown type.
    if (sound && header.op == Op::kRequest) {
      open_from_guest(header);
    } else {
      reply_reset(ports);
    }
  } else if (sound && TRY(deliver(*connection, header, payload))) {
    settle(*connection);
  } else {
    abort(*connection);
  }
  return {};
}

Result<bool> VirtioVsock::deliver(VsockConnection& connection, const Header& header,
                                  DmaReader& payload) {
  connection.take_credit(header);
  if (header.op == Op::kResponse) return connection.take_response();
  if (connection.state() != VsockConnection::State::kEstablished) return false;
  switch (header.op) {
    case Op::kRw:
      return connection.take_data(payload, header.len);
    case Op::kShutdown:
      connection.take_shutdown(header.flags);
      return true;
    case Op::kCreditUpdate:
      return true;
    case Op::kCreditRequest:
      connection.take_credit_request();
      return true;
    case Op::kInvalid:
    case Op::kRequest:
    case Op::kResponse:
    case Op::kRst:
      break;
  }
  return false;
}

void VirtioVsock::open_from_guest(const Header& header) {
  const VsockPorts ports{.host = header.dst_port, .guest = header.src_port};
  Result<Fd> socket = listener_.connect(ports.host);
  VsockConnection* connection = nullptr;
  if (socket && ports.guest != virtio_vsock::kAnyPort) {
    connection = add(std::move(*socket), {ports, VsockConnection::State::kEstablished});
  }
  if (connection == nullptr) {
    reply_reset(ports);
    return;
  }
  connection->take_credit(header);
  settle(*connection);
}

Result<void> VirtioVsock::send_packets() {
  VirtQueue& buffers = queue(kReceiveQueue);
  TRY(buffers.disable_doorbell());
  const bool more = TRY(send_batch(buffers));
  if (TRY(buffers.wants_interrupt())) active_->interrupts.queue_used(kReceiveQueue);
  const bool resume = transmit_held_ && replies_.size() < kMaxReplies;
  if (more || resume) signal_event(again_.get());
  return {};
}

Result<bool> VirtioVsock::send_batch(VirtQueue& buffers) {
  DescriptorChain chain;
  for (unsigned count = 0; count < buffers.size(); ++count) {
    if (ready_.empty() && replies_.empty()) return false;
    if (!TRY(buffers.pop(chain))) return buffers.enable_doorbell();
    if (!TRY(send_packet(chain))) buffers.unpop();
  }
  return true;
}

Result<bool> VirtioVsock::send_packet(const DescriptorChain& chain) {
  DmaWriter start(space_, chain.writable());
  if (start.remaining() < sizeof(Header)) {
    return Error{Errc::kMalformed, 0, "a receive buffer is too small for a header"};
  }
  DmaWriter payload = start;
  payload.skip(sizeof(Header));
  Header header;
  if (!TRY(next_packet(header, payload))) return false;
  header.dst_cid = options_.guest_cid;
  TRY(start.write_value(header));
  TRY(queue(kReceiveQueue)
          .push(chain.head(), static_cast<std::uint32_t>(sizeof header) + header.len));
  return true;
}

// Refusals first, then each connection in turn, a packet at a time.
Result<bool> VirtioVsock::next_packet(Header& header, DmaWriter& payload) {
  if (!replies_.empty()) {
    header.src_cid = virtio_vsock::kHostCid;
    header.src_port = replies_.front().host;
    header.dst_port = replies_.front().guest;
    header.type = virtio_vsock::kTypeStream;
    header.op = Op::kRst;
    replies_.pop_front();
    return true;
  }
  while (!ready_.empty()) {
    VsockConnection& connection = *ready_.front();
    const bool made = TRY(connection.next_packet(header, payload));
    ready_.pop_front();
    connection.queued = false;
    settle(connection);
    if (made) return true;
  }
  return false;
}

Result<void> VirtioVsock::send_event() {
  if (!event_due_) return {};
  VirtQueue& events = queue(kEventQueue);
  DescriptorChain chain;
  while (!TRY(events.pop(chain))) {
    if (!TRY(events.enable_doorbell())) return {};
  }
  DmaWriter writer(space_, chain.writable());
  TRY(writer.write_value(virtio_vsock::kEventTransportReset));
  TRY(events.push(chain.head(), sizeof virtio_vsock::kEventTransportReset));
  event_due_ = false;
  if (TRY(events.wants_interrupt())) active_->interrupts.queue_used(kEventQueue);
  return {};
}

void VirtioVsock::on_clients() {
  for (unsigned count = 0; count < kMaxAccepts && listening_; ++count) {
    Result<Fd> client = listener_.accept();
    if (client) {
      VsockConnection* connection =
          add(std::move(*client), {.ports = {table_.unused_host_port(), virtio_vsock::kAnyPort}});
      if (connection != nullptr) start_deadline(*connection);
    } else if (client.error().code == Errc::kNotFound) {
      return;
    } else {
      // Out of descriptors: the client waits in the backlog until the timer tries again.
      if (limiter_.allow()) log_failure("vsock-accept", client.error());
      listen(false);
      arm_timer(options_.timeout_ms);
    }
  }
}

// The line may be whole now. Edge-triggered, so a client that is slow costs an event for each part.
void VirtioVsock::greet(VsockConnection& connection) {
  const VsockPorts old_ports = connection.ports();
  switch (connection.read_greeting()) {
    case VsockConnection::Greeting::kIncomplete:
      return;
    case VsockConnection::Greeting::kBad:
      close(connection);
      return;
    case VsockConnection::Greeting::kComplete:
      break;
  }
  if (!table_.rename(old_ports, connection)) return;
  start_deadline(connection);
}

void VirtioVsock::settle(VsockConnection& connection) {
  if (connection.state() == VsockConnection::State::kDead) return;
  if (connection.finished() || connection.abandoned()) {
    abort(connection);
    return;
  }
  if (connection.awaits_reset() && connection.deadline_ms() == 0) start_deadline(connection);
  if (!connection.queued && connection.has_packet()) {
    connection.queued = true;
    ready_.push_back(&connection);
  }
}

VsockConnection* VirtioVsock::add(Fd socket, const VsockConnection::Setup& setup) {
  if (table_.full()) return nullptr;
  VsockConnection& connection = table_.add(*this, std::move(socket), setup);
  if (const Result<void> watched = connection.watch(loop_); !watched) {
    if (limiter_.allow()) log_failure("vsock-watch", watched.error());
    close(connection);
    return nullptr;
  }
  if (table_.full()) listen(false);
  return &connection;
}

void VirtioVsock::close(VsockConnection& connection) {
  if (connection.queued) std::erase(ready_, &connection);
  table_.remove(connection);
  signal_event(again_.get());
  listen(true);
}

void VirtioVsock::abort(VsockConnection& connection) {
  if (connection.known_to_guest()) reply_reset(connection.ports());
  close(connection);
}

void VirtioVsock::start_deadline(VsockConnection& connection) {
  connection.set_deadline_ms(now_ms() + options_.timeout_ms);
  arm_timer(options_.timeout_ms);
}

// All deadlines lie equally far ahead, so a timer that runs is never too late.
void VirtioVsock::arm_timer(std::int64_t delay_ms) {
  if (timer_armed_) return;
  delay_ms = std::max<std::int64_t>(delay_ms, 1);
  itimerspec when{};
  when.it_value = {.tv_sec = delay_ms / 1000, .tv_nsec = delay_ms % 1000 * 1'000'000};
  timer_armed_ = ::timerfd_settime(timer_.get(), 0, &when, nullptr) == 0;
}

void VirtioVsock::on_timer() {
  drain_event(timer_.get());
  timer_armed_ = false;
  if (!running()) return;
  const std::int64_t now = now_ms();
  const VsockTable::Deadlines deadlines = table_.deadlines(now);
  for (VsockConnection* late : deadlines.passed) abort(*late);
  if (deadlines.next_ms != 0) arm_timer(deadlines.next_ms - now);
  listen(true);
  conclude(send_packets());
}

void VirtioVsock::listen(bool on) {
  on = on && running() && !table_.full();
  if (on == listening_) return;
  if (clients_watch_.change(on ? EPOLLIN : 0U)) listening_ = on;
}

void VirtioVsock::give_up() {
  broken_ = true;
  listen(false);
}

void VirtioVsock::conclude(const Result<void>& result) {
  if (result) return;
  give_up();
  active_->interrupts.needs_reset();
  if (limiter_.allow()) log_failure("driver-error", result.error(), {{"device", name()}});
}

void VirtioVsock::refuse_packet(const char* why) {
  ++dropped_;
  if (limiter_.allow()) log_warning("vsock-packet-refused", {{"why", why}, {"count", dropped_}});
}

void VirtioVsock::save(StateWriter& writer) const {
  writer.put(kStateVersion);
}

Result<void> VirtioVsock::restore(StateReader& reader) {
  if (TRY(reader.get<std::uint32_t>()) != kStateVersion) {
    return Error{Errc::kUnsupported, 0, "the saved socket device is of another version"};
  }
  event_due_ = true;
  return {};
}

}  // namespace bulkhead
