// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>

#include "base/event_loop.h"
#include "kvm/system.h"
#include "mem/frame_source.h"
#include "vmm/console_hub.h"
#include "vmm/control_server.h"
#include "vmm/launch_spec.h"
#include "vmm/outcome.h"
#include "vmm/partition.h"
#include "vmm/tpm_process.h"

namespace bulkhead {

// Keeps one partition running from its specification to its end: starts it, serves its console and
// control socket, starts it anew when the guest reboots. Runs on the main thread.
class Monitor final : public ControlHandler {
 public:
  // `spec` outlives the monitor, which takes over the descriptors named in it.
  static Result<std::unique_ptr<Monitor>> create(const LaunchSpec& spec);
  ~Monitor() override;

  // Until the partition has ended for good. An error is a failure to start it.
  Result<Outcome> run();

  PartitionStatus status() override;
  Result<void> request_power_button() override;
  void request_stop() override;
  Result<void> pause() override;
  Result<void> resume() override;
  Result<void> suspend() override;
  Result<void> resize(std::uint64_t memory_bytes) override;
  std::string shared() override;
  Result<void> read_shared(Gpa from, std::span<std::byte> to) override;

 private:
  class ControlEvents;
  class Signals;
  class Watchdog;

  explicit Monitor(const LaunchSpec& spec);
  Result<void> open();
  Result<Outcome> run_once();
  void announce_ready();
  Result<void> alive() const;
  Result<void> ready_to_change() const;
  void wait_while_suspended();

  const LaunchSpec& spec_;
  std::unique_ptr<EventLoop> loop_;
  // Signals and control clients. They are served while the partition is suspended, when nothing
  // else may run, for it could touch memory.
  std::unique_ptr<EventLoop> control_loop_;
  std::unique_ptr<ControlEvents> control_events_;
  std::unique_ptr<kvm::System> kvm_;
  std::unique_ptr<FrameSource> frames_;
  std::unique_ptr<ConsoleHub> console_;
  std::unique_ptr<ControlServer> control_;
  std::unique_ptr<Signals> signals_;
  std::unique_ptr<Watchdog> watchdog_;
  std::unique_ptr<TpmProcess> tpm_;       // null: the partition has none
  std::unique_ptr<Partition> partition_;  // the current incarnation
  std::optional<VcpuPause> pause_;        // of a control client

  Fd ready_;
  std::uint64_t started_ms_ = 0;
  std::uint64_t reboots_ = 0;
};

}  // namespace bulkhead
