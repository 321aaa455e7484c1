// SPDX-License-Identifier: Apache-2.0
#include "vmm/control_server.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <optional>

#include "base/log.h"
#include "crypto/digest.h"
#include "vmm/console_hub.h"

namespace bulkhead {
namespace {

// Connections taken per round of the loop: a flood of them must not starve the devices.
constexpr int kMaxAccepts = 4;

// Only root and our own user. The kernel vouches for the peer's identity: unix(7), SO_PEERCRED.
bool is_trusted(int connection) {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return false;
  return peer.uid == 0 || peer.uid == ::geteuid();
}

std::string outcome(const Result<void>& result) {
  if (result) return "ok";
  return std::string("error ") + to_string(result.error().code) + " " + result.error().what;
}

// Takes a decimal number and the space behind it off the front of `text`.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, number);
  if (code != std::errc{} || (stop != end && *stop != ' ')) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(stop - text.data()) + (stop == end ? 0 : 1));
  return number;
}

}  // namespace

const char* to_string(PartitionState state) {
  switch (state) {
    case PartitionState::kStarting:
      return "starting";
    case PartitionState::kRunning:
      return "running";
    case PartitionState::kPaused:
      return "paused";
    case PartitionState::kSuspended:
      return "suspended";
    case PartitionState::kStopping:
      return "stopping";
  }
  return "?";
}

// One connection: collects a line, has it answered, and so on until the peer leaves or misbehaves.
class ControlServer::Client final : public EventHandler {
 public:
  Client(ControlServer& server, Fd connection)
      : server_(server), connection_(std::move(connection)) {}

  Result<void> start();
  bool closed() const { return closed_; }
  void on_ready(std::uint32_t events) override;

 private:
  void handle_lines();
  void handle(std::string_view line);
  void become_console();
  // A peer that does not read its answers is dropped, so that none has to be kept.
  void send(std::string_view text);
  void close();

  ControlServer& server_;
  Fd connection_;
  Watch watch_;
  std::array<char, kMaxLine> line_;
  std::size_t used_ = 0;
  bool closed_ = false;
};

Result<void> ControlServer::Client::start() {
  watch_ = TRY(Watch::create(server_.loop_, connection_.get(), EPOLLIN, *this));
  return {};
}

void ControlServer::Client::on_ready(std::uint32_t /*events*/) {
  if (closed_) return;
  const ssize_t got =
      ::recv(connection_.get(), line_.data() + used_, line_.size() - used_, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return close();
  used_ += static_cast<std::size_t>(got);
  handle_lines();
}

void ControlServer::Client::handle_lines() {
  while (!closed_) {
    const std::string_view text(line_.data(), used_);
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) break;
    handle(text.substr(0, end));
    std::copy(line_.begin() + static_cast<std::ptrdiff_t>(end) + 1,
              line_.begin() + static_cast<std::ptrdiff_t>(used_), line_.begin());
    used_ -= end + 1;
  }
  if (!closed_ && used_ == line_.size()) {
    send("error malformed the request is too long\n");
    close();
  }
}

void ControlServer::Client::handle(std::string_view line) {
  if (line == "console") return become_console();
  std::string text = server_.answer(line);
  send(text.append("\n"));
}

// What was sent behind the request, before the answer, is not console input: it is dropped.
void ControlServer::Client::become_console() {
  if (!server_.options_.console.has_room())
    return send("error exhausted too many console clients\n");
  send("ok\n");
  if (closed_) return;
  watch_.reset();
  if (auto attached = server_.options_.console.attach_client(std::move(connection_)); !attached) {
    log_failure("console-client-refused", attached.error());
  }
  close();
}

void ControlServer::Client::send(std::string_view text) {
  const ssize_t sent =
      ::send(connection_.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(text.size())) close();
}

void ControlServer::Client::close() {
  closed_ = true;
  watch_.reset();
  connection_.reset();
}

ControlServer::ControlServer(EventLoop& loop, Options options)
    : loop_(loop), options_(std::move(options)) {}

ControlServer::~ControlServer() = default;

Result<std::unique_ptr<ControlServer>> ControlServer::create(EventLoop& loop, Options options) {
  std::unique_ptr<ControlServer> server(new ControlServer(loop, std::move(options)));
  server->watch_ = TRY(Watch::create(loop, server->options_.listener.get(), EPOLLIN, *server));
  return server;
}

void ControlServer::on_ready(std::uint32_t /*events*/) {
  forget_closed();
  for (int i = 0; i < kMaxAccepts; ++i) {
    Fd connection(
        ::accept4(options_.listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (connection.valid()) {
      admit(std::move(connection));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      // The waiting connection would be reported again at once, for ever.
      log_failure("control-socket-closed", os_error("no descriptor for a control client"));
      return watch_.reset();
    } else {
      return;
    }
  }
}

// When all places are taken the oldest client loses its own, so that idle ones cannot lock us out.
void ControlServer::admit(Fd connection) {
  if (!is_trusted(connection.get())) return;
  if (clients_.size() >= kMaxClients) clients_.erase(clients_.begin());
  auto client = std::make_unique<Client>(*this, std::move(connection));
  if (client->start()) clients_.push_back(std::move(client));
}

void ControlServer::forget_closed() {
  std::erase_if(clients_, [](const auto& client) { return client->closed(); });
}

std::string ControlServer::answer(std::string_view request) {
  if (request == "status") return describe();
  if (request == "stop") return outcome(options_.handler.request_power_button());
  if (request == "pause") return outcome(options_.handler.pause());
  if (request == "resume") return outcome(options_.handler.resume());
  if (request == "suspend") return outcome(options_.handler.suspend());
  if (request == "shared") return "ok" + options_.handler.shared();
  if (request.starts_with("resize ")) return resize(request.substr(7));
  if (request.starts_with("peek ")) return peek(request.substr(5));
  if (request == "kill") {
    options_.handler.request_stop();
    return "ok";
  }
  return "error malformed no such request";
}

std::string ControlServer::resize(std::string_view argument) {
  const std::optional<std::uint64_t> bytes = take_number(argument);
  if (!bytes || !argument.empty()) return "error malformed resize takes a number of bytes";
  return outcome(options_.handler.resize(*bytes));
}

std::string ControlServer::peek(std::string_view arguments) {
  const std::optional<std::uint64_t> from = take_number(arguments);
  const std::optional<std::uint64_t> length = from ? take_number(arguments) : std::nullopt;
  if (!length || !arguments.empty() || *length == 0 || *length > kMaxPeek) {
    return "error malformed peek takes an address and a length of at most 4096 bytes";
  }
  std::vector<std::byte> bytes(*length);
  const Result<void> read = options_.handler.read_shared(Gpa(*from), bytes);
  return read ? "ok " + to_hex(bytes) : outcome(read);
}

std::string ControlServer::describe() {
  const PartitionStatus status = options_.handler.status();
  std::string text = "ok name=";
  text.append(options_.name).append(" state=").append(to_string(status.state));
  text.append(" cpus=").append(std::to_string(status.cpus));
  text.append(" memory_bytes=").append(std::to_string(status.memory_bytes));
  text.append(" max_memory_bytes=").append(std::to_string(status.max_memory_bytes));
  text.append(" target_bytes=").append(std::to_string(status.target_bytes));
  text.append(" resident_bytes=").append(std::to_string(status.resident_bytes));
  text.append(" sealed_bytes=").append(std::to_string(status.sealed_bytes));
  text.append(" uptime_ms=").append(std::to_string(status.uptime_ms));
  text.append(" reboots=").append(std::to_string(status.reboots));
  return text;
}

}  // namespace bulkhead
