// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "mem/io_engine.h"

namespace bulkhead {

// For unit tests only: does commands by plain system calls, except for the faults that it is told
// to make. The owner of the engine may be another; what steers it is shared.
struct EngineFaults {
  std::uint64_t most_bytes = ~std::uint64_t{0};  // a transfer stops after that many
  bool hold = false;                             // results stay away until cancel()
  // The result of a command that is not to be done at all.
  std::function<std::optional<std::int32_t>(const IoCommand&)> refuse = {};
  std::function<void()> before_reap = {};  // called whenever somebody looks for results
  std::size_t pushed = 0;
  std::size_t cancels = 0;
};

class FaultEngine : public IoEngine {
 public:
  FaultEngine(std::unique_ptr<IoEngine> inner, std::shared_ptr<EngineFaults> faults)
      : inner_(std::move(inner)), faults_(std::move(faults)) {}

  int event_fd() const override { return inner_->event_fd(); }
  std::size_t room() const override { return inner_->room(); }
  void push(const IoCommand& command) override {
    ++faults_->pushed;
    const std::optional<std::int32_t> refused =
        faults_->refuse ? faults_->refuse(command) : std::nullopt;
    if (refused) {
      own_.push_back({command.slot, *refused});
    } else if (faults_->hold) {
      own_.push_back({command.slot, -ECANCELED});
    } else {
      push_cut(command);
    }
  }
  void submit() override { inner_->submit(); }
  std::size_t reap(std::span<IoResult> out) override {
    if (faults_->before_reap) faults_->before_reap();
    std::size_t count = 0;
    while (!faults_->hold && !own_.empty() && count < out.size()) {
      out[count++] = own_.back();
      own_.pop_back();
    }
    return count + inner_->reap(out.subspan(count));
  }
  void cancel() override {
    ++faults_->cancels;
    faults_->hold = false;
    inner_->cancel();
  }
  void wait() override {}

 private:
  void push_cut(const IoCommand& command) {
    std::vector<iovec> vectors(command.vectors.begin(), command.vectors.end());
    std::uint64_t left = faults_->most_bytes;
    for (iovec& vector : vectors) {
      vector.iov_len = std::min<std::uint64_t>(vector.iov_len, left);
      left -= vector.iov_len;
    }
    IoCommand cut = command;
    cut.vectors = vectors;
    inner_->push(cut);
  }

  std::unique_ptr<IoEngine> inner_;
  std::shared_ptr<EngineFaults> faults_;
  std::vector<IoResult> own_;
};

}  // namespace bulkhead
