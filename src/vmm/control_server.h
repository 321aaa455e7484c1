// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"

namespace bulkhead {

class ConsoleHub;

enum class PartitionState : std::uint8_t { kStarting, kRunning, kPaused, kStopping };
const char* to_string(PartitionState state);

struct PartitionStatus {
  PartitionState state = PartitionState::kStarting;
  unsigned cpus = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t uptime_ms = 0;
  std::uint64_t reboots = 0;
};

// What the partition does for a control client. Called on the event loop's thread; may take no
// longer than it takes to stop the vCPUs.
class ControlHandler {
 public:
  virtual ~ControlHandler() = default;
  virtual PartitionStatus status() = 0;
  // Presses the ACPI power button. The guest may ignore it.
  virtual Result<void> request_power_button() = 0;
  // Ends the partition from outside: returns at once, and the process ends soon after.
  virtual void request_stop() = 0;
  virtual Result<void> pause() = 0;
  virtual Result<void> resume() = 0;
};

// The partition's control socket, a line protocol: docs/formats/control.md. Serves root and the
// user that the partition runs as. Line length, number of clients and unread answers are bounded;
// no client can block the loop.
class ControlServer final : private EventHandler {
 public:
  static constexpr std::size_t kMaxClients = 16;
  static constexpr std::size_t kMaxLine = 128;  // with its newline

  struct Options {
    std::string name;
    Fd listener;  // a listening, non-blocking Unix stream socket
    ControlHandler& handler;
    ConsoleHub& console;
  };

  static Result<std::unique_ptr<ControlServer>> create(EventLoop& loop, Options options);
  ~ControlServer() override;

 private:
  class Client;

  ControlServer(EventLoop& loop, Options options);

  void on_ready(std::uint32_t events) override;
  void admit(Fd connection);
  // The answer to a request, without its newline.
  std::string answer(std::string_view request);
  std::string describe();
  void forget_closed();

  EventLoop& loop_;
  Options options_;
  Watch watch_;
  std::vector<std::unique_ptr<Client>> clients_;  // the oldest first
};

}  // namespace bulkhead
