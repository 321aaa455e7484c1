// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "vtpm/process/state_keeper.h"

namespace bulkhead::vtpm {

// libtpms, whose state is global to a process: there is one engine at a time. One thread, but for
// cancel(). It never sees a file: its permanent state is kept in memory, and given to the keeper
// before the response to the command that changed it.
class TpmEngine {
 public:
  // kBusy if there is another engine.
  static Result<std::unique_ptr<TpmEngine>> create(StateKeeper& keeper);
  ~TpmEngine();

  // Powers the TPM on, or off and on. With volatile state it goes on from there: without Startup.
  Result<void> init(std::span<const std::byte> volatile_state);
  bool running() const { return running_; }

  // The response, valid until the next call. Errors are ours, or the keeper's: the TPM's own are
  // responses. kInvalidArgument: nothing to do with a TPM.
  Result<std::span<const std::byte>> execute(std::uint32_t locality,
                                             std::span<const std::byte> command);
  Result<std::vector<std::byte>> volatile_state();

  // Asks the command under way, if there is one, to end early. Any thread.
  static void cancel();

 private:
  struct Callbacks;  // of libtpms, which names no object

  explicit TpmEngine(StateKeeper& keeper) : keeper_(keeper) {}
  Result<void> save();
  void stop();

  StateKeeper& keeper_;
  std::vector<std::byte> permanent_;
  bool changed_ = false;  // the keeper does not have `permanent_`
  bool running_ = false;
  std::uint8_t locality_ = 0;
  // libtpms allocates the first response, and uses it again for those that follow.
  unsigned char* response_ = nullptr;
  std::uint32_t response_capacity_ = 0;
};

}  // namespace bulkhead::vtpm
