// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/fd.h"
#include "base/thread.h"
#include "vtpm/counter_protocol.h"

namespace bulkhead {

// How often a counter is changed: a TPM's memory bears so many writes only, and a guest decides how
// often its own TPM has something to keep. The interval is what TPM 1.2 demanded of counters for
// seven years (Part 1, Monotonic Counter); a start takes fewer than 20.
struct CounterPace {
  unsigned burst = 64;
  std::chrono::milliseconds interval{5000};  // between further ones: they are waited for
};

// Asks for counters in the host's TPM on behalf of the partition's TPM, which has no way out of its
// own: on a thread, for as long as the object lives.
class CounterRelay {
 public:
  // Called on that thread.
  using Ask = std::function<Result<CounterValue>(const vtpm::CounterRequest&)>;
  // The bulkheadd that listens there. Only root's is believed; `daemon_uid` is for tests.
  static Ask by_daemon(std::string socket, unsigned daemon_uid = 0);

  // `or_file`: where no counter can be made, for whatever reason, a file is to do.
  static Result<std::unique_ptr<CounterRelay>> start(Ask ask, bool or_file,
                                                     const CounterPace& pace = {});
  ~CounterRelay();

  // What the TPM's process gets.
  int process_end() const { return process_end_.get(); }
  // Whether it was told a counter's value: from then on its state is counted by the host's TPM.
  bool has_counted() const { return counted_; }

 private:
  using Clock = std::chrono::steady_clock;

  CounterRelay(Ask ask, bool or_file, const CounterPace& pace)
      : ask_(std::move(ask)), or_file_(or_file), pace_(pace), left_(pace.burst) {}
  static void serve(void* relay);
  bool await_turn();
  Result<CounterValue> answer(const vtpm::CounterRequest& request);

  const Ask ask_;
  const bool or_file_;
  const CounterPace pace_;
  unsigned left_;  // so many changes at once; the thread's
  Clock::time_point refilled_ = Clock::now();
  std::atomic<bool> counted_ = false;
  Fd process_end_;
  Fd own_end_;
  Thread thread_;
};

}  // namespace bulkhead
