// SPDX-License-Identifier: Apache-2.0
#include "daemon/certifier.h"

#include <signal.h>
#include <sys/epoll.h>

#include <ctime>

#include "base/log.h"

namespace bulkhead::daemon {

using namespace hostca;

Result<std::unique_ptr<Certifier>> Certifier::create(EventLoop& loop, Open open) {
  std::unique_ptr<Certifier> certifier(new Certifier(std::move(open), TRY(Fd::event())));
  certifier->watch_ = TRY(Watch::create(loop, certifier->finished_.get(), EPOLLIN, *certifier));
  certifier->thread_ = TRY(Thread::start(
      "certifier", [](void* self) { static_cast<Certifier*>(self)->work(); }, certifier.get()));
  return certifier;
}

// What is under way is waited for: a TPM cannot be left in the middle of a command.
Certifier::~Certifier() {
  {
    const MutexLock lock(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

Result<void> Certifier::certify(PartitionKeys keys, Done done) {
  {
    const MutexLock lock(mutex_);
    if (unfinished_ >= kMaxWaiting)
      return Error{Errc::kBusy, 0, "too many certificates are asked for"};
    ++unfinished_;
    waiting_.push_back({.keys = std::move(keys), .done = std::move(done)});
  }
  wake_.notify_one();
  return {};
}

void Certifier::on_ready(std::uint32_t /*events*/) {
  drain_event(finished_.get());
  std::deque<Job> jobs;
  {
    const MutexLock lock(mutex_);
    jobs.swap(done_);
    unfinished_ -= jobs.size();
  }
  for (Job& job : jobs) job.done(std::move(job.outcome));
}

// After a failure everything is opened anew: the TPM may have been reset, and the certificate
// renewed.
Result<PartitionCertificates> Certifier::make(const PartitionKeys& keys) {
  if (ca_ == nullptr) ca_ = TRY(open_());
  Result<PartitionCertificates> made = ca_->certify(keys, ::time(nullptr));
  if (!made) ca_.reset();
  return made;
}

void Certifier::work() {
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
    job.outcome = make(job.keys);
    {
      const MutexLock lock(mutex_);
      done_.push_back(std::move(job));
    }
    signal_event(finished_.get());
  }
}

}  // namespace bulkhead::daemon
