// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"
#include "base/thread_annotations.h"
#include "devices/console_backend.h"
#include "vmm/console_escape.h"
#include "vmm/console_sink.h"
#include "vmm/launch_spec.h"

namespace bulkhead {

// Joins the guest's two consoles (serial port and virtio-console) with the terminal, the log file
// and the clients of the control socket. Output goes through one ring to everyone, each at its own
// pace; who falls behind by a whole ring misses the oldest part and is told so. Input goes to the
// guest console that wrote last.
//
// connect(), write() and input_ready() may be called from any thread. connect(port, nullptr) does
// not wait for a receive() that is under way: call it on the loop's thread, or after the loop
// ended.
class ConsoleHub final : public ConsoleBackend, private EventHandler {
 public:
  static constexpr std::size_t kMaxClients = 8;
  static constexpr std::uint64_t kHistoryBytes = 64 * kKiB;  // what a client gets on arrival
  static constexpr std::uint64_t kMaxLogBytes = 1 * kMiB;
  static constexpr std::size_t kMaxPendingInput = 64 * kKiB;

  // Takes the console's descriptors over. `on_quit` is called on the loop's thread when the user
  // types Ctrl-A x. The process must ignore SIGPIPE.
  static Result<std::unique_ptr<ConsoleHub>> create(EventLoop& loop, const ConsoleSpec& spec,
                                                    std::function<void()> on_quit);
  ~ConsoleHub() override;

  void connect(Port port, ConsoleInput* input) override EXCLUDES(mutex_);
  void write(Port port, std::span<const std::byte> bytes) override EXCLUDES(mutex_);
  void input_ready(Port port) override EXCLUDES(mutex_);

  // Whether one more client may come. Loop thread only, like attach_client.
  bool has_room();
  // Takes over a control connection: it gets the recent output, then everything that follows, and
  // its bytes are console input.
  Result<void> attach_client(Fd connection);

  // Writes out what is still queued, waiting at most `timeout_ms` for slow readers. On the loop's
  // thread, or after the loop ended.
  void drain(int timeout_ms);

 private:
  class Input;
  class Output;
  class Messages;

  ConsoleHub(EventLoop& loop, Fd wake, ConsoleRing ring, std::function<void()> on_quit);
  Result<void> open_log(const ConsoleSpec& spec);
  void open_terminal(const ConsoleSpec& spec);

  void on_ready(std::uint32_t events) override EXCLUDES(mutex_);
  void wake();
  void wake_locked() REQUIRES(mutex_);
  void accept_input(std::span<const std::byte> bytes);
  void deliver_input() EXCLUDES(mutex_);
  ConsoleInput* current_input() EXCLUDES(mutex_);
  void run_command(EscapeCommand command);
  void reap();

  EventLoop& loop_;
  Fd wake_fd_;
  std::function<void()> on_quit_;
  Watch wake_watch_;

  Mutex mutex_;
  ConsoleRing ring_ GUARDED_BY(mutex_);
  std::array<ConsoleInput*, 2> ports_ GUARDED_BY(mutex_){};
  Port last_port_ GUARDED_BY(mutex_) = Port::kVirtio;
  bool wake_pending_ GUARDED_BY(mutex_) = false;

  // The rest belongs to the loop's thread.
  std::vector<std::byte> pending_input_;
  std::array<std::byte, ConsoleSink::kChunk> chunk_;
  std::vector<std::unique_ptr<Input>> inputs_;
  std::vector<std::unique_ptr<Output>> outputs_;
  std::unique_ptr<Messages> messages_;
};

}  // namespace bulkhead
