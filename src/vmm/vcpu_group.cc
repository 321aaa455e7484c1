// SPDX-License-Identifier: Apache-2.0
#include "vmm/vcpu_group.h"

#include <cstdio>

#include "base/log.h"

namespace bulkhead {

struct VcpuGroup::Runner {
  Runner(VcpuGroup& owner, kvm::Vcpu processor)
      : group(owner), vcpu(std::move(processor)), kick(vcpu) {}

  VcpuGroup& group;
  kvm::Vcpu vcpu;
  kvm::VcpuKick kick;
  std::atomic<bool> in_guest = false;
  std::uint64_t exits_at_last_check = 0;  // of kick_idle_and_stuck()
  std::array<std::atomic<std::uint64_t>, std::variant_size_v<kvm::Exit>> exits{};
  Thread thread;

  std::uint64_t exit_count() const {
    std::uint64_t total = 0;
    for (const auto& kind : exits) total += kind.load(std::memory_order_relaxed);
    return total;
  }
};

VcpuPause::~VcpuPause() {
  if (group_ != nullptr) group_->resume();
}

VcpuGroup::VcpuGroup(ExitDispatcher& dispatcher, OutcomeSink& outcome)
    : dispatcher_(dispatcher), outcome_(outcome) {}

Result<std::unique_ptr<VcpuGroup>> VcpuGroup::create(std::vector<kvm::Vcpu> vcpus,
                                                     ExitDispatcher& dispatcher,
                                                     OutcomeSink& outcome) {
  std::unique_ptr<VcpuGroup> group(new VcpuGroup(dispatcher, outcome));
  for (kvm::Vcpu& vcpu : vcpus) {
    group->runners_.push_back(std::make_unique<Runner>(*group, std::move(vcpu)));
  }
  for (auto& runner : group->runners_) {
    char name[16];
    std::snprintf(name, sizeof name, "vcpu%u", runner->vcpu.id());
    runner->thread = TRY(Thread::start(name, thread_main, runner.get()));
  }
  return group;
}

VcpuGroup::~VcpuGroup() {
  stop();
}

void VcpuGroup::run() {
  resume();
}

VcpuPause VcpuGroup::pause() {
  MutexLock lock(mutex_);
  ++pauses_;
  if (mode_ == Mode::kRun) mode_ = Mode::kPause;
  kick_all();
  // A stopped thread counts as parked for ever.
  while (parked_ < runners_.size()) changed_.wait(mutex_);
  return VcpuPause(*this);
}

void VcpuGroup::resume() {
  MutexLock lock(mutex_);
  CHECK(pauses_ > 0);
  if (--pauses_ > 0 || mode_ == Mode::kStop) return;
  mode_ = Mode::kRun;
  changed_.notify_all();
}

void VcpuGroup::stop() {
  {
    MutexLock lock(mutex_);
    mode_ = Mode::kStop;
    changed_.notify_all();
    kick_all();
  }
  for (auto& runner : runners_) runner->thread.join();
}

void VcpuGroup::kick_all() {
  for (auto& runner : runners_) runner->kick.kick();
}

unsigned VcpuGroup::kick_idle_and_stuck() {
  unsigned kicked = 0;
  for (auto& runner : runners_) {
    const std::uint64_t exits = runner->exit_count();
    if (runner->in_guest.load(std::memory_order_relaxed) && exits == runner->exits_at_last_check) {
      runner->kick.kick();
      ++kicked;
    }
    runner->exits_at_last_check = exits;
  }
  return kicked;
}

kvm::Vcpu& VcpuGroup::vcpu(const VcpuPause&, std::size_t index) {
  return runners_[index]->vcpu;
}

VcpuGroup::ExitCounts VcpuGroup::exit_counts() const {
  ExitCounts total{};
  for (const auto& runner : runners_) {
    for (std::size_t kind = 0; kind < total.size(); ++kind) {
      total[kind] += runner->exits[kind].load(std::memory_order_relaxed);
    }
  }
  return total;
}

void VcpuGroup::thread_main(void* opaque) {
  Runner& runner = *static_cast<Runner*>(opaque);
  const kvm::VcpuKick::Attachment attachment(runner.kick);
  runner.group.loop(runner);
}

bool VcpuGroup::may_run(Runner& runner) {
  if (mode_.load(std::memory_order_acquire) == Mode::kRun) [[likely]]
    return true;
  // Whoever looks at a paused vCPU finds no half-done instruction in it.
  for (int part = 0; part < 16; ++part) {
    Result<kvm::Exit> rest = runner.vcpu.finish_exit();
    if (!rest || std::holds_alternative<kvm::Interrupted>(*rest)) break;
    dispatcher_.handle(runner.vcpu.id(), *rest);
  }
  MutexLock lock(mutex_);
  ++parked_;
  changed_.notify_all();
  while (mode_ == Mode::kPause) changed_.wait(mutex_);
  if (mode_ == Mode::kStop) return false;  // stays counted as parked
  --parked_;
  return true;
}

void VcpuGroup::loop(Runner& runner) {
  while (may_run(runner)) {
    runner.in_guest.store(true, std::memory_order_relaxed);
    Result<kvm::Exit> exit = runner.vcpu.run();
    runner.in_guest.store(false, std::memory_order_relaxed);
    if (exit) runner.exits[exit->index()].fetch_add(1, std::memory_order_relaxed);
    if (!exit) {
      log_failure("vcpu_run", exit.error(), {{"vcpu", runner.vcpu.id()}});
      outcome_.finish(Outcome::kFailed);
    }
    if (exit && dispatcher_.handle(runner.vcpu.id(), *exit)) continue;
    // Not to be entered again: wait for the end as if paused for ever.
    MutexLock lock(mutex_);
    ++parked_;
    changed_.notify_all();
    while (mode_ != Mode::kStop) changed_.wait(mutex_);
    return;
  }
}

}  // namespace bulkhead
