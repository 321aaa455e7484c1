// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "base/fd.h"
#include "base/thread.h"
#include "vtpm/counter_protocol.h"

namespace bulkhead {

// Asks for counters in the host's TPM on behalf of the partition's TPM, which has no way out of its
// own: on a thread, for as long as the object lives.
class CounterRelay {
 public:
  // Called on that thread.
  using Ask = std::function<Result<vtpm::CounterValue>(const vtpm::CounterRequest&)>;
  // The bulkheadd that listens there. Only root's is believed; `daemon_uid` is for tests.
  static Ask by_daemon(std::string socket, unsigned daemon_uid = 0);

  // `or_file`: where no counter can be made, for whatever reason, a file is to do.
  static Result<std::unique_ptr<CounterRelay>> start(Ask ask, bool or_file);
  ~CounterRelay();

  // What the TPM's process gets.
  int process_end() const { return process_end_.get(); }
  // Whether it was told a counter's value: from then on its state is counted by the host's TPM.
  bool has_counted() const { return counted_; }

 private:
  CounterRelay(Ask ask, bool or_file) : ask_(std::move(ask)), or_file_(or_file) {}
  static void serve(void* relay);
  Result<vtpm::CounterValue> answer(const vtpm::CounterRequest& request);

  const Ask ask_;
  const bool or_file_;
  std::atomic<bool> counted_ = false;
  Fd process_end_;
  Fd own_end_;
  Thread thread_;
};

}  // namespace bulkhead
