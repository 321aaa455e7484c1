// SPDX-License-Identifier: Apache-2.0
// A monitor without a guest, for the tests of the command line. It reads a specification, serves
// console and control socket as the real one does, and lets kernel parameters say how it behaves:
//   fake.exit=N     end with status N         fake.fail       end before the guest runs
//   fake.crash      die by SIGABRT            fake.print=T    write T to the console at the start
//   fake.echo       write back what is typed  fake.stubborn   ignore power button and SIGTERM
//   fake.booting    miss the first press of the power button
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>

#include "vmm/console_hub.h"
#include "vmm/control_server.h"
#include "vmm/launch_spec.h"

namespace bulkhead {
namespace {

constexpr int kStopped = 143;
constexpr int kDrainMs = 2000;

int to_int(const std::string& text) {
  return static_cast<int>(std::strtol(text.c_str(), nullptr, 10));
}

class FakeMonitor final : public ControlHandler, private EventHandler, private ConsoleInput {
 public:
  explicit FakeMonitor(const LaunchSpec& spec) : spec_(spec) {}

  int run() {
    if (has("fake.fail")) {
      std::fprintf(stderr, "bulkhead-vmm: the fake guest does not start\n");
      return 1;
    }
    open();
    print(value("fake.print").value_or(""));
    announce_ready();
    if (has("fake.crash")) std::abort();
    if (const auto status = value("fake.exit")) status_ = to_int(*status);
    while (!status_) {
      if (!loop_->run_once(-1)) return 1;
    }
    hub_->drain(kDrainMs);
    control_.reset();
    remove_runtime_files(spec_);
    return *status_;
  }

 private:
  PartitionStatus status() override {
    return {.state = paused_ ? PartitionState::kPaused : PartitionState::kRunning,
            .cpus = spec_.cpus,
            .memory_bytes = spec_.memory_bytes,
            .uptime_ms = 61000,
            .reboots = 0};
  }
  Result<void> request_power_button() override {
    ++presses_;
    if (!has("fake.stubborn") && !(has("fake.booting") && presses_ == 1)) status_ = 0;
    return {};
  }
  void request_stop() override { status_ = kStopped; }
  Result<void> pause() override {
    paused_ = true;
    return {};
  }
  Result<void> suspend() override { return pause(); }
  Result<void> resize(std::uint64_t) override { return {}; }
  std::string shared() override { return ""; }
  Result<void> read_shared(Gpa, std::span<std::byte>) override { return {}; }
  Result<void> resume() override {
    paused_ = false;
    return {};
  }

  std::size_t receive(std::span<const std::byte> bytes) override {
    if (has("fake.echo")) hub_->write(ConsoleBackend::Port::kVirtio, bytes);
    return bytes.size();
  }

  void on_ready(std::uint32_t /*events*/) override {
    signalfd_siginfo info{};
    const bool got = ::read(signals_.get(), &info, sizeof info) == sizeof info;
    if (got && !has("fake.stubborn")) status_ = kStopped;
  }

  void open() {
    ::signal(SIGPIPE, SIG_IGN);
    sigset_t ending;
    ::sigemptyset(&ending);
    ::sigaddset(&ending, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &ending, nullptr);
    loop_ = EventLoop::create().value();
    signals_ = Fd(::signalfd(-1, &ending, SFD_CLOEXEC));
    watch_ = Watch::create(*loop_, signals_.get(), EPOLLIN, *this).value();
    hub_ = ConsoleHub::create(*loop_, spec_.console, [this] { request_stop(); }).value();
    hub_->connect(ConsoleBackend::Port::kVirtio, this);
    control_ = ControlServer::create(*loop_, {.name = spec_.name,
                                              .listener = Fd(spec_.control_fd),
                                              .handler = *this,
                                              .console = *hub_})
                   .value();
  }

  void announce_ready() const {
    if (spec_.ready_fd < 0) return;
    [[maybe_unused]] auto written = ::write(spec_.ready_fd, "1", 1);
    ::close(spec_.ready_fd);
  }

  void print(std::string_view text) {
    hub_->write(ConsoleBackend::Port::kVirtio, std::as_bytes(std::span(text)));
  }

  std::optional<std::string> value(std::string_view key) const {
    std::istringstream words(spec_.command_line);
    for (std::string word; words >> word;) {
      if (word == key) return "";
      if (word.starts_with(std::string(key) + "=")) return word.substr(key.size() + 1);
    }
    return std::nullopt;
  }
  bool has(std::string_view key) const { return value(key).has_value(); }

  const LaunchSpec& spec_;
  std::optional<int> status_;
  bool paused_ = false;
  int presses_ = 0;
  std::unique_ptr<EventLoop> loop_;
  Fd signals_;
  Watch watch_;
  std::unique_ptr<ConsoleHub> hub_;
  std::unique_ptr<ControlServer> control_;
};

int run(int spec_fd) {
  const auto text = read_spec_fd(spec_fd);
  SpecError error;
  const auto spec = text ? parse_launch_spec(*text, error) : std::nullopt;
  if (!spec || !check_descriptors(*spec, error)) {
    std::fprintf(stderr, "fake monitor: %s\n", error.message.c_str());
    return 1;
  }
  if (const char* copy = std::getenv("FAKE_SPEC_COPY")) std::ofstream(copy) << *text;
  return FakeMonitor(*spec).run();
}

}  // namespace
}  // namespace bulkhead

int main(int argc, char** argv) {
  return argc == 3 ? bulkhead::run(bulkhead::to_int(argv[2])) : 2;
}
