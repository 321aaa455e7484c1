// SPDX-License-Identifier: Apache-2.0
#include "daemon/host_counters.h"

namespace bulkhead::daemon {

using namespace hostca;

namespace {

Result<CounterValue> serve(HostTpm& tpm, const CounterRequest& request) {
  switch (request.action) {
    case CounterAction::kMake:
      return tpm.make_counter(request.secret.bytes());
    case CounterAction::kRead:
      return tpm.read_counter(request.index, request.secret.bytes());
    case CounterAction::kStep:
      return tpm.step_counter(request.index, request.secret.bytes());
  }
  return Error{Errc::kMalformed, 0, "nothing of the kind can be done with a counter"};
}

}  // namespace

Result<std::unique_ptr<HostCounters>> HostCounters::create(EventLoop& loop, Serve serve) {
  std::unique_ptr<HostCounters> counters(new HostCounters(std::move(serve)));
  counters->worker_ = TRY(Worker::create(loop, "counters"));
  return counters;
}

HostCounters::Serve HostCounters::in_tpm(std::string where) {
  return [where = std::move(where), tpm = std::shared_ptr<HostTpm>()](
             const CounterRequest& request) mutable -> Result<CounterValue> {
    if (tpm == nullptr) tpm = TRY(HostTpm::open(where));
    Result<CounterValue> counter = serve(*tpm, request);
    if (!counter) tpm.reset();
    return counter;
  };
}

Result<void> HostCounters::ask(CounterRequest request, Done done) {
  return worker_->run([this, request = std::move(request), done = std::move(done)]() mutable {
    return [counter = serve_(request), done = std::move(done)] { done(counter); };
  });
}

}  // namespace bulkhead::daemon
