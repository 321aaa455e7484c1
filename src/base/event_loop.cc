// SPDX-License-Identifier: Apache-2.0
#include "base/event_loop.h"

#include <sys/epoll.h>

#include <array>
#include <cerrno>

namespace bulkhead {
namespace {

constexpr EventLoop::Token kWakeToken = ~EventLoop::Token{0};
constexpr std::size_t kBatch = 16;

// A token names a slot and the generation of its use, so that an event which was reported for an
// earlier owner of the slot finds nobody.
EventLoop::Token make_token(std::size_t index, std::uint32_t generation) {
  return (static_cast<EventLoop::Token>(generation) << 32) | index;
}
std::size_t index_of(EventLoop::Token token) {
  return token & 0xffffffffU;
}
std::uint32_t generation_of(EventLoop::Token token) {
  return static_cast<std::uint32_t>(token >> 32);
}

}  // namespace

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
  Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return os_error("cannot create an epoll instance");
  Fd wake = TRY(Fd::event());
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakeToken;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) {
    return os_error("cannot watch the wake descriptor");
  }
  return std::unique_ptr<EventLoop>(new EventLoop(std::move(epoll), std::move(wake)));
}

Result<EventLoop::Token> EventLoop::add(int fd, std::uint32_t events, EventHandler& handler) {
  MutexLock lock(mutex_);
  std::size_t index = 0;
  while (index < slots_.size() && slots_[index].handler != nullptr) ++index;
  if (index == slots_.size()) slots_.emplace_back();
  Slot& slot = slots_[index];
  const Token token = make_token(index, slot.generation);
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return os_error("cannot watch a descriptor");
  }
  slot.handler = &handler;
  slot.fd = fd;
  return token;
}

Result<void> EventLoop::change(Token token, std::uint32_t events) {
  MutexLock lock(mutex_);
  const Slot& slot = slots_[index_of(token)];
  CHECK(slot.handler != nullptr && slot.generation == generation_of(token));
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, slot.fd, &event) != 0) {
    return os_error("cannot change what is watched");
  }
  return {};
}

void EventLoop::remove(Token token) {
  MutexLock lock(mutex_);
  Slot& slot = slots_[index_of(token)];
  if (slot.handler == nullptr || slot.generation != generation_of(token)) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, slot.fd, nullptr);
  slot.handler = nullptr;
  slot.fd = -1;
  ++slot.generation;
}

EventHandler* EventLoop::find(Token token) {
  MutexLock lock(mutex_);
  const std::size_t index = index_of(token);
  if (index >= slots_.size() || slots_[index].generation != generation_of(token)) return nullptr;
  return slots_[index].handler;
}

Result<void> EventLoop::run() {
  while (!stopping_.exchange(false, std::memory_order_acq_rel)) TRY(run_once(-1));
  return {};
}

Result<void> EventLoop::run_once(int timeout_ms) {
  std::array<epoll_event, kBatch> events;
  const int count = ::epoll_wait(epoll_.get(), events.data(), kBatch, timeout_ms);
  if (count < 0 && errno != EINTR) return os_error("cannot wait for events");
  // Not those that were reported before a handler said stop(): it may be that memory is sealed now.
  for (int i = 0; i < count && !stopping_.load(std::memory_order_acquire); ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    if (event.data.u64 == kWakeToken) {
      drain_event(wake_.get());
    } else if (EventHandler* handler = find(event.data.u64)) {
      handler->on_ready(event.events);
    }
  }
  return {};
}

void EventLoop::stop() {
  stopping_.store(true, std::memory_order_release);
  signal_event(wake_.get());
}

Watch& Watch::operator=(Watch&& other) noexcept {
  if (this != &other) {
    reset();
    loop_ = std::exchange(other.loop_, nullptr);
    token_ = other.token_;
  }
  return *this;
}

Result<Watch> Watch::create(EventLoop& loop, int fd, std::uint32_t events, EventHandler& handler) {
  return Watch(loop, TRY(loop.add(fd, events, handler)));
}

void Watch::reset() {
  if (loop_ != nullptr) std::exchange(loop_, nullptr)->remove(token_);
}

}  // namespace bulkhead
