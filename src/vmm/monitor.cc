// SPDX-License-Identifier: Apache-2.0
#include "vmm/monitor.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <iterator>

#include "base/log.h"
#include "mem/daemon_frames.h"
#include "mem/private_frames.h"

namespace bulkhead {
namespace {

constexpr int kDrainMs = 2000;

// In the order of kvm::Exit's alternatives.
void log_exit_counts(const VcpuGroup::ExitCounts& counts) {
  constexpr const char* kNames[] = {
      "port_out",     "port_in",      "mmio_read",      "mmio_write",   "halt",
      "triple_fault", "system_event", "cannot_emulate", "kvm_internal", "entry_failed",
      "memory_fault", "interrupted",  "unknown"};
  static_assert(std::size(kNames) == std::tuple_size_v<VcpuGroup::ExitCounts>);
  for (std::size_t kind = 0; kind < counts.size(); ++kind) {
    if (counts[kind] == 0) continue;
    log_event(LogLevel::kError, "exit_stats", {{"kind", kNames[kind]}, {"count", counts[kind]}});
  }
}

std::uint64_t now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000 +
         static_cast<std::uint64_t>(now.tv_nsec) / 1000000;
}

Result<std::unique_ptr<FrameSource>> open_frames(const LaunchSpec& spec) {
  if (spec.frames == FrameKeeper::kDaemon) {
    std::optional<unsigned> node;
    if (spec.numa_node >= 0) node = static_cast<unsigned>(spec.numa_node);
    return std::unique_ptr<FrameSource>(
        TRY(DaemonFrames::connect({.socket_path = spec.daemon_socket,
                                   .name = spec.name,
                                   .backing = spec.backing,
                                   .numa_node = node})));
  }
  return std::unique_ptr<FrameSource>(TRY(PrivateFrames::create(spec.backing)));
}

}  // namespace

// Serves the control loop from the main one.
class Monitor::ControlEvents final : public EventHandler {
 public:
  static Result<std::unique_ptr<ControlEvents>> create(EventLoop& loop, Monitor& monitor) {
    std::unique_ptr<ControlEvents> events(new ControlEvents(monitor));
    events->watch_ = TRY(Watch::create(loop, monitor.control_loop_->fd(), EPOLLIN, *events));
    return events;
  }

  void on_ready(std::uint32_t) override {
    if (Result<void> served = monitor_.control_loop_->run_once(0); !served) {
      log_failure("control_loop", served.error());
    }
    monitor_.wait_while_suspended();
  }

 private:
  explicit ControlEvents(Monitor& monitor) : monitor_(monitor) {}

  Monitor& monitor_;
  Watch watch_;
};

// SIGTERM, SIGINT and SIGHUP end the partition in order.
class Monitor::Signals final : public EventHandler {
 public:
  static Result<std::unique_ptr<Signals>> create(EventLoop& loop, Monitor& monitor) {
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGHUP);
    if (::pthread_sigmask(SIG_BLOCK, &mask, nullptr) != 0) return os_error("cannot block signals");
    Fd fd(::signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd.valid()) return os_error("cannot receive signals");
    std::unique_ptr<Signals> signals(new Signals(monitor, std::move(fd)));
    signals->watch_ = TRY(Watch::create(loop, signals->fd_.get(), EPOLLIN, *signals));
    return signals;
  }

  void on_ready(std::uint32_t) override {
    signalfd_siginfo info;
    if (::read(fd_.get(), &info, sizeof info) != sizeof info) return;
    log_info("signal", {{"number", info.ssi_signo}});
    monitor_.request_stop();
  }

 private:
  Signals(Monitor& monitor, Fd fd) : monitor_(monitor), fd_(std::move(fd)) {}

  Monitor& monitor_;
  Fd fd_;
  Watch watch_;
};

// Looks now and then whether a vCPU has been in KVM_RUN all the time, and gets it out: some guests
// can make the kernel loop there.
class Monitor::Watchdog final : public EventHandler {
 public:
  static Result<std::unique_ptr<Watchdog>> create(EventLoop& loop, Monitor& monitor,
                                                  unsigned period_ms) {
    Fd fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!fd.valid()) return os_error("cannot create the watchdog's timer");
    const timespec period{period_ms / 1000, static_cast<long>(period_ms % 1000) * 1000000};
    const itimerspec timer{period, period};
    if (::timerfd_settime(fd.get(), 0, &timer, nullptr) != 0) {
      return os_error("cannot set the watchdog's timer");
    }
    std::unique_ptr<Watchdog> watchdog(new Watchdog(monitor, std::move(fd)));
    watchdog->watch_ = TRY(Watch::create(loop, watchdog->fd_.get(), EPOLLIN, *watchdog));
    return watchdog;
  }

  void on_ready(std::uint32_t) override {
    drain_event(fd_.get());
    if (monitor_.partition_ != nullptr) monitor_.partition_->vcpus().kick_idle_and_stuck();
  }

 private:
  Watchdog(Monitor& monitor, Fd fd) : monitor_(monitor), fd_(std::move(fd)) {}

  Monitor& monitor_;
  Fd fd_;
  Watch watch_;
};

Result<std::unique_ptr<Monitor>> Monitor::create(const LaunchSpec& spec) {
  std::unique_ptr<Monitor> monitor(new Monitor(spec));
  TRY(monitor->open());
  return monitor;
}

Monitor::Monitor(const LaunchSpec& spec) : spec_(spec) {}

Monitor::~Monitor() = default;

Result<void> Monitor::open() {
  started_ms_ = now_ms();
  ready_ = Fd(spec_.ready_fd);
  loop_ = TRY(EventLoop::create());
  control_loop_ = TRY(EventLoop::create());
  control_events_ = TRY(ControlEvents::create(*loop_, *this));
  signals_ = TRY(Signals::create(*control_loop_, *this));
  TRY(kvm::install_kick_signal());
  tpm_ = TRY(TpmProcess::create(spec_));
  kvm_ = std::make_unique<kvm::System>(TRY(kvm::System::open()));
  frames_ = TRY(open_frames(spec_));
  console_ = TRY(ConsoleHub::create(*loop_, spec_.console, [this] { request_stop(); }));
  if (spec_.control_fd >= 0) {
    control_ = TRY(ControlServer::create(*control_loop_, {.name = spec_.name,
                                                          .listener = Fd(spec_.control_fd),
                                                          .handler = *this,
                                                          .console = *console_}));
  }
  if (spec_.watchdog_ms > 0) watchdog_ = TRY(Watchdog::create(*loop_, *this, spec_.watchdog_ms));
  return {};
}

Result<Outcome> Monitor::run() {
  while (true) {
    const Outcome outcome = TRY(run_once());
    log_info("partition_ended", {{"name", spec_.name}, {"outcome", to_string(outcome)}});
    if (outcome != Outcome::kReset || spec_.on_reboot != OnReboot::kRestart) return outcome;
    ++reboots_;
  }
}

Result<Outcome> Monitor::run_once() {
  if (tpm_ != nullptr) TRY(tpm_->restart());
  partition_ = TRY(Partition::create(
      spec_,
      {.kvm = *kvm_, .loop = *loop_, .console = *console_, .frames = *frames_, .tpm = tpm_.get()}));
  partition_->run();
  announce_ready();
  Result<void> looped = loop_->run();
  pause_.reset();
  const std::optional<Outcome> outcome = partition_->outcome();
  if (spec_.has_debug("exit-stats")) log_exit_counts(partition_->vcpus().exit_counts());
  partition_.reset();  // the vCPUs have stopped, the devices are quiet
  console_->drain(kDrainMs);
  TRY(std::move(looped));
  return outcome.value_or(Outcome::kFailed);
}

// The starter waits for this byte, or for the descriptor to close without it.
void Monitor::announce_ready() {
  if (!ready_.valid()) return;
  const char byte = 1;
  [[maybe_unused]] auto written = ::write(ready_.get(), &byte, 1);
  ready_.reset();
}

PartitionStatus Monitor::status() {
  PartitionStatus status;
  status.state = partition_ == nullptr               ? PartitionState::kStarting
                 : partition_->outcome().has_value() ? PartitionState::kStopping
                 : partition_->suspended()           ? PartitionState::kSuspended
                 : pause_.has_value()                ? PartitionState::kPaused
                                                     : PartitionState::kRunning;
  status.cpus = spec_.cpus;
  status.memory_bytes = spec_.memory_bytes;
  status.max_memory_bytes = std::max(spec_.memory_bytes, spec_.max_memory_bytes);
  status.target_bytes = spec_.memory_bytes;
  if (partition_ != nullptr) partition_->describe_memory(status);
  status.uptime_ms = now_ms() - started_ms_;
  status.reboots = reboots_;
  return status;
}

Result<void> Monitor::request_power_button() {
  TRY(ready_to_change());
  partition_->chipset().press_power_button();
  return {};
}

void Monitor::request_stop() {
  if (partition_ != nullptr) partition_->finish(Outcome::kStopped);
}

// Whether there is a partition that is neither starting nor ending.
Result<void> Monitor::alive() const {
  if (partition_ == nullptr) return Error{Errc::kBusy, 0, "the partition is being started"};
  if (partition_->outcome()) return Error{Errc::kBusy, 0, "the partition is ending"};
  return {};
}

// Whether it is not suspended either.
Result<void> Monitor::ready_to_change() const {
  TRY(alive());
  if (partition_->suspended()) return Error{Errc::kBusy, 0, "the partition is suspended"};
  return {};
}

Result<void> Monitor::pause() {
  TRY(ready_to_change());
  if (pause_.has_value()) return Error{Errc::kExists, 0, "the partition is paused already"};
  pause_.emplace(partition_->pause());
  return {};
}

Result<void> Monitor::resume() {
  TRY(alive());
  if (partition_->suspended()) return partition_->wake();
  if (!pause_.has_value()) return Error{Errc::kNotFound, 0, "the partition is not paused"};
  pause_.reset();
  return {};
}

Result<void> Monitor::suspend() {
  TRY(ready_to_change());
  return partition_->suspend();
}

// On the main loop's thread, which serves nothing else meanwhile.
void Monitor::wait_while_suspended() {
  while (partition_ != nullptr && partition_->suspended() && !partition_->outcome()) {
    if (Result<void> served = control_loop_->run_once(-1); !served) {
      log_failure("control_loop", served.error());
      return request_stop();
    }
  }
}

Result<void> Monitor::resize(std::uint64_t memory_bytes) {
  TRY(ready_to_change());
  return partition_->resize(memory_bytes);
}

std::string Monitor::shared() {
  return partition_ == nullptr ? "" : partition_->shared();
}

Result<void> Monitor::read_shared(Gpa from, std::span<std::byte> to) {
  TRY(ready_to_change());
  return partition_->read_shared(from, to);
}

}  // namespace bulkhead
