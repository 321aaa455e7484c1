// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/thread.h"
#include "base/thread_annotations.h"
#include "kvm/kick.h"
#include "kvm/vcpu.h"
#include "vmm/exit_dispatcher.h"

namespace bulkhead {

class VcpuGroup;

// As long as one of these exists, no vCPU of its group is in the guest or in an exit's handler.
// The last one to go lets them run on.
class VcpuPause {
 public:
  VcpuPause(VcpuPause&& other) noexcept : group_(std::exchange(other.group_, nullptr)) {}
  VcpuPause& operator=(VcpuPause&&) = delete;
  VcpuPause(const VcpuPause&) = delete;
  ~VcpuPause();

 private:
  friend class VcpuGroup;
  explicit VcpuPause(VcpuGroup& group) : group_(&group) {}

  VcpuGroup* group_;
};

// The virtual processors of a partition, one thread each.
class VcpuGroup {
 public:
  // The threads start paused until the first run(). `dispatcher` outlives the group.
  static Result<std::unique_ptr<VcpuGroup>> create(std::vector<kvm::Vcpu> vcpus,
                                                   ExitDispatcher& dispatcher,
                                                   OutcomeSink& outcome);
  ~VcpuGroup();

  // Lets the vCPUs enter the guest for the first time.
  void run() EXCLUDES(mutex_);
  // Waits until all vCPUs have left the guest. Not from a vCPU's own thread.
  VcpuPause pause() EXCLUDES(mutex_);
  // Ends all threads; they never run again.
  void stop() EXCLUDES(mutex_);

  // Interrupts every vCPU that has been in KVM_RUN since the last call. One that loops inside the
  // kernel comes out; one that merely computes or sleeps goes back in. Returns how many it was.
  unsigned kick_idle_and_stuck();

  // Only with the vCPUs paused, or before run().
  kvm::Vcpu& vcpu(const VcpuPause&, std::size_t index);
  std::size_t size() const { return runners_.size(); }
  // Exits to the monitor so far, all vCPUs together, by kind: indices are kvm::Exit's.
  using ExitCounts = std::array<std::uint64_t, std::variant_size_v<kvm::Exit>>;
  ExitCounts exit_counts() const;

 private:
  friend class VcpuPause;
  struct Runner;
  enum class Mode : std::uint8_t { kRun, kPause, kStop };

  VcpuGroup(ExitDispatcher& dispatcher, OutcomeSink& outcome);
  static void thread_main(void* runner);
  void loop(Runner& runner);
  // Parks while paused. Returns false when the thread shall end.
  bool may_run(Runner& runner) EXCLUDES(mutex_);
  void kick_all();
  void resume() EXCLUDES(mutex_);

  ExitDispatcher& dispatcher_;
  OutcomeSink& outcome_;
  std::vector<std::unique_ptr<Runner>> runners_;

  // Read without the lock on every pass; changed with it.
  std::atomic<Mode> mode_ = Mode::kPause;
  Mutex mutex_;
  std::condition_variable_any changed_;
  unsigned parked_ GUARDED_BY(mutex_) = 0;
  unsigned pauses_ GUARDED_BY(mutex_) = 1;  // the first is run()'s to end
};

}  // namespace bulkhead
