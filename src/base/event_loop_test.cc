// SPDX-License-Identifier: Apache-2.0
#include "base/event_loop.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <thread>

namespace bulkhead {
namespace {

struct Counter : EventHandler {
  explicit Counter(int event_fd) : fd(event_fd) {}
  void on_ready(std::uint32_t) override {
    drain_event(fd);
    ++calls;
    if (removes != nullptr) removes->reset();
    if (stops != nullptr) stops->stop();
  }
  int fd;
  int calls = 0;
  Watch* removes = nullptr;
  EventLoop* stops = nullptr;
};

TEST(EventLoop, CallsTheHandlerOfAReadyDescriptor) {
  auto loop = EventLoop::create().value();
  Fd event = Fd::event().value();
  Counter counter(event.get());
  Watch watch = Watch::create(*loop, event.get(), EPOLLIN, counter).value();
  ASSERT_TRUE(loop->run_once(0));
  EXPECT_EQ(counter.calls, 0);
  signal_event(event.get());
  ASSERT_TRUE(loop->run_once(0));
  EXPECT_EQ(counter.calls, 1);
}

// Both are reported ready in one batch; whichever runs first removes the other.
TEST(EventLoop, ARemovedHandlerIsNotCalledEvenIfAlreadyReported) {
  auto loop = EventLoop::create().value();
  Fd first = Fd::event().value();
  Fd second = Fd::event().value();
  Counter one(first.get());
  Counter two(second.get());
  Watch watch_one = Watch::create(*loop, first.get(), EPOLLIN, one).value();
  Watch watch_two = Watch::create(*loop, second.get(), EPOLLIN, two).value();
  one.removes = &watch_two;
  two.removes = &watch_one;
  signal_event(first.get());
  signal_event(second.get());
  ASSERT_TRUE(loop->run_once(0));
  EXPECT_EQ(one.calls + two.calls, 1);
}

TEST(EventLoop, AReusedSlotDoesNotReceiveItsPredecessorsEvents) {
  auto loop = EventLoop::create().value();
  Fd event = Fd::event().value();
  Counter counter(event.get());
  EventLoop::Token stale = loop->add(event.get(), EPOLLIN, counter).value();
  loop->remove(stale);
  Watch watch = Watch::create(*loop, event.get(), EPOLLIN, counter).value();
  loop->remove(stale);  // must not remove the new registration
  signal_event(event.get());
  ASSERT_TRUE(loop->run_once(0));
  EXPECT_EQ(counter.calls, 1);
}

// As above; the other is called when the loop goes on.
TEST(EventLoop, CallsNobodyOnceItIsStopped) {
  auto loop = EventLoop::create().value();
  Fd first = Fd::event().value();
  Fd second = Fd::event().value();
  Counter one(first.get());
  Counter two(second.get());
  one.stops = two.stops = loop.get();
  Watch watch_one = Watch::create(*loop, first.get(), EPOLLIN, one).value();
  Watch watch_two = Watch::create(*loop, second.get(), EPOLLIN, two).value();
  signal_event(first.get());
  signal_event(second.get());
  ASSERT_TRUE(loop->run());
  EXPECT_EQ(one.calls + two.calls, 1);
  ASSERT_TRUE(loop->run());
  EXPECT_EQ(one.calls + two.calls, 2);
}

TEST(EventLoop, StopsFromAnotherThread) {
  auto loop = EventLoop::create().value();
  std::thread stopper([&] { loop->stop(); });
  EXPECT_TRUE(loop->run());
  stopper.join();
}

}  // namespace
}  // namespace bulkhead
