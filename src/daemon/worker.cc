// SPDX-License-Identifier: Apache-2.0
#include "daemon/worker.h"

#include <signal.h>
#include <sys/epoll.h>

namespace bulkhead::daemon {

Result<std::unique_ptr<Worker>> Worker::create(EventLoop& loop, const char* name) {
  std::unique_ptr<Worker> worker(new Worker(TRY(Fd::event())));
  worker->watch_ = TRY(Watch::create(loop, worker->finished_.get(), EPOLLIN, *worker));
  worker->thread_ = TRY(
      Thread::start(name, [](void* self) { static_cast<Worker*>(self)->work(); }, worker.get()));
  return worker;
}

Worker::~Worker() {
  {
    const MutexLock lock(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

Result<void> Worker::run(Job job) {
  {
    const MutexLock lock(mutex_);
    if (unfinished_ >= kMaxUnfinished) return Error{Errc::kBusy, 0, "too much is asked for"};
    ++unfinished_;
    waiting_.push_back(std::move(job));
  }
  wake_.notify_one();
  return {};
}

void Worker::on_ready(std::uint32_t /*events*/) {
  drain_event(finished_.get());
  std::deque<Then> done;
  {
    const MutexLock lock(mutex_);
    done.swap(done_);
    unfinished_ -= done.size();
  }
  for (Then& then : done) then();
}

void Worker::work() {
  sigset_t all;
  sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);  // signals are the loop's
  for (;;) {
    Job job;
    {
      const MutexLock lock(mutex_);
      while (waiting_.empty() && !ending_) wake_.wait(mutex_);
      if (ending_) return;
      job = std::move(waiting_.front());
      waiting_.pop_front();
    }
    Then then = job();
    {
      const MutexLock lock(mutex_);
      done_.push_back(std::move(then));
    }
    signal_event(finished_.get());
  }
}

}  // namespace bulkhead::daemon
