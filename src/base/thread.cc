// SPDX-License-Identifier: Apache-2.0
#include "base/thread.h"

#include <memory>
#include <new>

namespace bulkhead {
namespace {

// The deepest user is a DMA transfer with its list of vectors: 16 KiB.
constexpr std::size_t kStackBytes = 256 * 1024;

struct Start {
  Thread::Body body;
  void* argument;
};

void* run(void* opaque) {
  const std::unique_ptr<Start> start(static_cast<Start*>(opaque));
  start->body(start->argument);
  return nullptr;
}

}  // namespace

Result<Thread> Thread::start(const char* name, Body body, void* argument) {
  auto start = std::make_unique<Start>(Start{body, argument});
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  pthread_t handle{};
  const int failure = pthread_create(&handle, &attributes, run, start.get());
  pthread_attr_destroy(&attributes);
  if (failure != 0) return os_error(failure, "cannot start a thread");
  (void)start.release();  // the thread owns it now
  pthread_setname_np(handle, name);
  return Thread(handle);
}

Thread& Thread::operator=(Thread&& other) noexcept {
  if (this != &other) {
    join();
    handle_ = other.handle_;
    running_ = std::exchange(other.running_, false);
  }
  return *this;
}

void Thread::join() {
  if (std::exchange(running_, false)) pthread_join(handle_, nullptr);
}

}  // namespace bulkhead
