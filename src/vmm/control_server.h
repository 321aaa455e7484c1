// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"

namespace bulkhead {

class ConsoleHub;

enum class PartitionState : std::uint8_t { kStarting, kRunning, kPaused, kSuspended, kStopping };
const char* to_string(PartitionState state);

struct PartitionStatus {
  PartitionState state = PartitionState::kStarting;
  unsigned cpus = 0;
  std::uint64_t memory_bytes = 0;      // what the guest has now
  std::uint64_t max_memory_bytes = 0;  // what it may grow to
  std::uint64_t target_bytes = 0;      // what it was asked to have
  std::uint64_t resident_bytes = 0;    // of its memory, plaintext in RAM
  std::uint64_t sealed_bytes = 0;      // of its memory, sealed
  std::uint64_t uptime_ms = 0;
  std::uint64_t reboots = 0;
};

// What the partition does for a control client. Called on the event loop's thread; but for
// suspend(), it may take no longer than it takes to stop the vCPUs.
class ControlHandler {
 public:
  virtual ~ControlHandler() = default;
  virtual PartitionStatus status() = 0;
  // Presses the ACPI power button. The guest may ignore it.
  virtual Result<void> request_power_button() = 0;
  // Ends the partition from outside: returns at once, and the process ends soon after.
  virtual void request_stop() = 0;
  virtual Result<void> pause() = 0;
  // Also of a suspended partition.
  virtual Result<void> resume() = 0;
  // Seals all of the partition. Returns when its plaintext is gone: that takes as long as it takes
  // to encrypt it.
  virtual Result<void> suspend() = 0;
  // Asks the guest to grow or shrink to this much.
  virtual Result<void> resize(std::uint64_t memory_bytes) = 0;
  // What the guest shares with the host's tools, a line for each range; and bytes of it, refused
  // where it does not.
  virtual std::string shared() = 0;
  virtual Result<void> read_shared(Gpa from, std::span<std::byte> to) = 0;
};

// The partition's control socket, a line protocol: docs/formats/control.md. Serves root and the
// user that the partition runs as. Line length, number of clients and unread answers are bounded;
// no client can block the loop.
class ControlServer final : private EventHandler {
 public:
  static constexpr std::size_t kMaxClients = 16;
  static constexpr std::size_t kMaxLine = 128;   // with its newline
  static constexpr std::size_t kMaxPeek = 4096;  // bytes that one request reads

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
  std::string resize(std::string_view argument);
  std::string peek(std::string_view arguments);
  std::string describe();
  void forget_closed();

  EventLoop& loop_;
  Options options_;
  Watch watch_;
  std::vector<std::unique_ptr<Client>> clients_;  // the oldest first
};

}  // namespace bulkhead
