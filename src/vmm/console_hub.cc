// SPDX-License-Identifier: Apache-2.0
#include "vmm/console_hub.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>

namespace bulkhead {
namespace {

constexpr std::size_t kReadBytes = 4 * kKiB;
// Chunks written to one output before the others have their turn.
constexpr int kMaxBurst = 16;
constexpr std::string_view kHelp =
    "\r\n[bulkhead] Ctrl-A x: end the partition; Ctrl-A h: this help; Ctrl-A Ctrl-A: a Ctrl-A\r\n";

std::size_t index_of(ConsoleBackend::Port port) {
  return static_cast<std::size_t>(port);
}

}  // namespace

// Where typed bytes come from: the terminal or standard input, or a client.
class ConsoleHub::Input final : public EventHandler {
 public:
  Input(ConsoleHub& hub, Fd fd, bool escapes) : hub_(hub), fd_(std::move(fd)), escapes_(escapes) {}

  bool closed() const { return closed_; }
  // A terminal is always read, whether or not the guest takes input: its user may want to quit.
  bool may_read() const { return escapes_ || hub_.pending_input_.empty(); }
  void on_ready(std::uint32_t events) override;
  // Watches the descriptor if there is room for what it brings.
  void resume();

 private:
  void read_some();
  void accept(std::span<const std::byte> bytes);

  ConsoleHub& hub_;
  Fd fd_;
  bool escapes_;
  bool always_ready_ = false;
  bool closed_ = false;
  EscapeFilter filter_;
  Watch watch_;
};

void ConsoleHub::Input::on_ready(std::uint32_t /*events*/) {
  if (!may_read()) {
    watch_.reset();  // not change(0): a hangup would be reported for ever
    return;
  }
  read_some();
}

void ConsoleHub::Input::resume() {
  if (closed_ || watch_.active() || !may_read()) return;
  if (always_ready_) {
    read_some();
    hub_.wake();  // the next part, when the loop comes round
    return;
  }
  auto watch = Watch::create(hub_.loop_, fd_.get(), EPOLLIN, *this);
  if (watch) {
    watch_ = std::move(watch).value();
  } else if (watch.error().os_errno == EPERM) {
    always_ready_ = true;  // a regular file or /dev/null
    hub_.wake();
  } else {
    closed_ = true;
  }
}

void ConsoleHub::Input::read_some() {
  std::array<std::byte, kReadBytes> buffer;
  const ssize_t got = ::read(fd_.get(), buffer.data(), buffer.size());
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    closed_ = true;
    watch_.reset();
    hub_.wake();
    return;
  }
  accept(std::span(buffer).first(static_cast<std::size_t>(got)));
}

void ConsoleHub::Input::accept(std::span<const std::byte> bytes) {
  if (!escapes_) return hub_.accept_input(bytes);
  std::array<std::byte, kReadBytes> kept;
  std::size_t count = 0;
  for (std::byte byte : bytes) {
    const EscapeFilter::Typed typed = filter_.feed(byte);
    if (typed.byte) kept[count++] = *typed.byte;
    if (typed.command != EscapeCommand::kNone) hub_.run_command(typed.command);
  }
  hub_.accept_input(std::span(kept).first(count));
}

// Where output goes, and how far it has got.
class ConsoleHub::Output final : public EventHandler {
 public:
  Output(ConsoleHub& hub, ConsoleSink sink, std::uint64_t position)
      : hub_(hub), sink_(std::move(sink)), position_(position) {}

  bool closed() const { return closed_; }
  bool waiting() const { return watch_.active(); }
  // Whether the other side is gone. One that only stopped sending is not.
  bool hung_up() const;
  const ConsoleSink& sink() const { return sink_; }
  void add_notice(std::string_view text) { notice_.append(text); }

  void on_ready(std::uint32_t /*events*/) override { pump(); }
  bool idle() EXCLUDES(hub_.mutex_);
  // Writes what there is, until done or until the descriptor is full.
  void pump();

 private:
  // The next bytes to write: a notice of ours, or a copy of what the ring has.
  std::span<const std::byte> peek() EXCLUDES(hub_.mutex_);
  void consume(std::size_t count);
  void rewind() EXCLUDES(hub_.mutex_);
  void wait_for_room();

  ConsoleHub& hub_;
  ConsoleSink sink_;
  std::uint64_t position_;
  std::string notice_;
  bool closed_ = false;
  Watch watch_;
};

bool ConsoleHub::Output::hung_up() const {
  pollfd poll{sink_.fd(), 0, 0};
  return ::poll(&poll, 1, 0) == 1;
}

bool ConsoleHub::Output::idle() {
  MutexLock lock(hub_.mutex_);
  return closed_ || (notice_.empty() && position_ == hub_.ring_.end());
}

std::span<const std::byte> ConsoleHub::Output::peek() {
  MutexLock lock(hub_.mutex_);
  const std::uint64_t begin = hub_.ring_.begin();
  if (position_ < begin) {
    add_notice("\r\n[bulkhead] " + std::to_string(begin - position_) + " bytes of output lost\r\n");
    position_ = begin;
  }
  if (!notice_.empty()) return std::as_bytes(std::span(notice_));
  return std::span(hub_.chunk_).first(hub_.ring_.copy(position_, hub_.chunk_));
}

void ConsoleHub::Output::consume(std::size_t count) {
  if (notice_.empty()) {
    position_ += count;
  } else {
    notice_.erase(0, count);
  }
}

void ConsoleHub::Output::rewind() {
  MutexLock lock(hub_.mutex_);
  position_ = hub_.ring_.back(position_, kHistoryBytes);
}

void ConsoleHub::Output::pump() {
  for (int burst = 0; burst < kMaxBurst && !closed_; ++burst) {
    const std::span<const std::byte> next = peek();
    if (next.empty()) return watch_.reset();
    if (sink_.start_over_if_full(next.size())) {
      rewind();
      continue;
    }
    std::size_t written = 0;
    const ConsoleSink::Outcome outcome = sink_.write(next, written);
    consume(written);
    if (outcome == ConsoleSink::Outcome::kFull) return wait_for_room();
    closed_ = outcome == ConsoleSink::Outcome::kClosed;
    if (sink_.must_poll() && !closed_) return wait_for_room();
  }
  if (closed_) watch_.reset();
  hub_.wake();  // to go on, or to be reaped
}

void ConsoleHub::Output::wait_for_room() {
  if (watch_.active()) return;
  auto watch = Watch::create(hub_.loop_, sink_.fd(), EPOLLOUT, *this);
  if (watch) {
    watch_ = std::move(watch).value();
  } else if (watch.error().os_errno == EPERM) {
    sink_.set_always_ready();  // /dev/null and the like
    hub_.wake();
  } else {
    closed_ = true;
    hub_.wake();
  }
}

// Our own messages, on their way to the log.
class ConsoleHub::Messages final : public EventHandler {
 public:
  Messages(ConsoleHub& hub, Fd fd) : hub_(hub), fd_(std::move(fd)) {}

  Result<void> start() {
    watch_ = TRY(Watch::create(hub_.loop_, fd_.get(), EPOLLIN, *this));
    return {};
  }

  void on_ready(std::uint32_t /*events*/) override {
    std::array<char, kReadBytes> buffer;
    const ssize_t got = ::read(fd_.get(), buffer.data(), buffer.size());
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0 || hub_.outputs_.empty()) return watch_.reset();
    hub_.outputs_.front()->add_notice({buffer.data(), static_cast<std::size_t>(got)});
    hub_.wake();
  }

 private:
  ConsoleHub& hub_;
  Fd fd_;
  Watch watch_;
};

ConsoleHub::ConsoleHub(EventLoop& loop, Fd wake, ConsoleRing ring, std::function<void()> on_quit)
    : loop_(loop),
      wake_fd_(std::move(wake)),
      on_quit_(std::move(on_quit)),
      ring_(std::move(ring)) {}

ConsoleHub::~ConsoleHub() = default;

Result<std::unique_ptr<ConsoleHub>> ConsoleHub::create(EventLoop& loop, const ConsoleSpec& spec,
                                                       std::function<void()> on_quit) {
  std::unique_ptr<ConsoleHub> hub(
      new ConsoleHub(loop, TRY(Fd::event()), TRY(ConsoleRing::create()), std::move(on_quit)));
  hub->wake_watch_ = TRY(Watch::create(loop, hub->wake_fd_.get(), EPOLLIN, *hub));
  TRY(hub->open_log(spec));
  hub->open_terminal(spec);
  return hub;
}

Result<void> ConsoleHub::open_log(const ConsoleSpec& spec) {
  if (spec.log_fd >= 0) {
    ConsoleSink log(Fd(spec.log_fd), kMaxLogBytes);
    outputs_.push_back(std::make_unique<Output>(*this, std::move(log), 0));
  }
  if (spec.messages_fd >= 0) {
    messages_ = std::make_unique<Messages>(*this, Fd(spec.messages_fd));
    TRY(messages_->start());
  }
  return {};
}

void ConsoleHub::open_terminal(const ConsoleSpec& spec) {
  if (spec.out_fd >= 0) {
    // In front: run_command() talks to the first.
    outputs_.insert(outputs_.begin(),
                    std::make_unique<Output>(*this, ConsoleSink(Fd(spec.out_fd)), 0));
  }
  if (spec.in_fd >= 0) {
    inputs_.push_back(std::make_unique<Input>(*this, Fd(spec.in_fd), spec.escapes));
    inputs_.back()->resume();
  }
}

bool ConsoleHub::has_room() {
  std::erase_if(outputs_, [](const auto& output) { return output->hung_up(); });
  return outputs_.size() < kMaxClients + 2;  // the terminal and the log are not clients
}

Result<void> ConsoleHub::attach_client(Fd connection) {
  if (!has_room()) return Error{Errc::kExhausted, 0, "too many console clients"};
  ConsoleSink sink(TRY(connection.duplicate()));
  std::uint64_t position = 0;
  {
    MutexLock lock(mutex_);
    position = ring_.back(ring_.end(), kHistoryBytes);
  }
  outputs_.push_back(std::make_unique<Output>(*this, std::move(sink), position));
  inputs_.push_back(std::make_unique<Input>(*this, std::move(connection), false));
  inputs_.back()->resume();
  outputs_.back()->pump();
  return {};
}

void ConsoleHub::connect(Port port, ConsoleInput* input) {
  MutexLock lock(mutex_);
  ports_[index_of(port)] = input;
  wake_locked();
}

void ConsoleHub::write(Port port, std::span<const std::byte> bytes) {
  MutexLock lock(mutex_);
  ring_.write(bytes);
  last_port_ = port;
  wake_locked();
}

void ConsoleHub::input_ready(Port /*port*/) {
  wake();
}

void ConsoleHub::wake() {
  MutexLock lock(mutex_);
  wake_locked();
}

// One signal for all that happens before the loop comes round.
void ConsoleHub::wake_locked() {
  if (!std::exchange(wake_pending_, true)) signal_event(wake_fd_.get());
}

void ConsoleHub::on_ready(std::uint32_t /*events*/) {
  {
    MutexLock lock(mutex_);
    wake_pending_ = false;
    drain_event(wake_fd_.get());
  }
  for (auto& output : outputs_) {
    if (!output->waiting()) output->pump();
  }
  deliver_input();
  for (std::size_t i = 0; i < inputs_.size(); ++i) inputs_[i]->resume();
  reap();
}

void ConsoleHub::accept_input(std::span<const std::byte> bytes) {
  const std::size_t room = kMaxPendingInput - pending_input_.size();
  // Only a terminal gets here without room: what is typed at a guest that does not listen is lost.
  bytes = bytes.first(std::min(room, bytes.size()));
  pending_input_.insert(pending_input_.end(), bytes.begin(), bytes.end());
  deliver_input();
}

// The console that wrote last, or the other one when that is not there.
ConsoleInput* ConsoleHub::current_input() {
  MutexLock lock(mutex_);
  ConsoleInput* preferred = ports_[index_of(last_port_)];
  return preferred != nullptr ? preferred : ports_[1 - index_of(last_port_)];
}

// The device's lock is taken in receive(), so ours must not be held: a device writes under its own.
void ConsoleHub::deliver_input() {
  ConsoleInput* input = current_input();
  if (input == nullptr || pending_input_.empty()) return;
  const std::size_t taken = std::min(input->receive(pending_input_), pending_input_.size());
  const auto begin = pending_input_.begin();
  pending_input_.erase(begin, begin + static_cast<std::ptrdiff_t>(taken));
}

void ConsoleHub::run_command(EscapeCommand command) {
  if (command == EscapeCommand::kQuit) return on_quit_();
  if (outputs_.empty()) return;
  // Escapes are recognised on the terminal only, and its output is the first.
  outputs_.front()->add_notice(kHelp);
  wake();
}

// Clients are an input and an output of one connection; each ends by itself.
void ConsoleHub::reap() {
  std::erase_if(inputs_, [](const auto& input) { return input->closed(); });
  std::erase_if(outputs_, [](const auto& output) { return output->closed(); });
}

void ConsoleHub::drain(int timeout_ms) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  for (auto left = deadline - Clock::now(); left.count() >= 0; left = deadline - Clock::now()) {
    std::vector<pollfd> polls;
    std::vector<Output*> busy;
    for (auto& output : outputs_) {
      if (output->idle()) continue;
      polls.push_back({output->sink().fd(), POLLOUT, 0});
      busy.push_back(output.get());
    }
    if (busy.empty()) return;
    const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
    ::poll(polls.data(), polls.size(), static_cast<int>(wait));
    for (std::size_t i = 0; i < busy.size(); ++i) {
      if (polls[i].revents != 0) busy[i]->pump();
    }
  }
}

}  // namespace bulkhead
