// SPDX-License-Identifier: Apache-2.0
#include "cli/control_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "base/address.h"
#include "cli/error.h"

namespace bulkhead::cli {
namespace {

constexpr int kAnswerMs = 3000;
constexpr std::size_t kMaxAnswer = 64 * 1024;
constexpr int kProgressMs = 5000;
constexpr int kPressMs = 5000;

bool readable(const Fd& fd, int timeout_ms) {
  pollfd ready{fd.get(), POLLIN, 0};
  int count = 0;
  do {
    count = ::poll(&ready, 1, timeout_ms);
  } while (count < 0 && errno == EINTR);
  return count == 1;
}

}  // namespace

ControlClient::ControlClient(const RuntimeDir& runtime, const std::string& name)
    : name_(name), connection_(connect_control(runtime, name)) {}

// A partition that has gone does not answer: that is found when the answer is read.
void ControlClient::send(const std::string& request) {
  const std::string line = request + "\n";
  [[maybe_unused]] auto sent = ::send(connection_.get(), line.data(), line.size(), MSG_NOSIGNAL);
}

std::string ControlClient::ask(const std::string& request) {
  send(request);
  return understand(request, read_line());
}

std::string ControlClient::ask_patiently(const std::string& request, const std::string& activity) {
  send(request);
  for (int seconds = kProgressMs / 1000; !readable(connection_, kProgressMs);
       seconds += kProgressMs / 1000) {
    std::fprintf(stderr, "bulkhead: %s '%s', %d s so far\n", activity.c_str(), name_.c_str(),
                 seconds);
  }
  return understand(request, read_line());
}

std::string ControlClient::understand(const std::string& request, const std::string& answer) {
  if (answer == "ok") return "";
  if (answer.starts_with("ok ")) return answer.substr(3);
  if (answer.starts_with("error ")) {
    throw HostError("partition '" + name_ + "' refuses to " + request + ": " + answer.substr(6));
  }
  throw HostError("partition '" + name_ + "' does not answer; try again, or use 'bulkhead stop " +
                  "--force " + name_ + "'");
}

// Byte by byte: what follows the line of a console connection is not ours to buffer.
std::string ControlClient::read_line() {
  std::string line;
  char c = 0;
  while (line.size() < kMaxAnswer && readable(connection_, kAnswerMs) &&
         ::recv(connection_.get(), &c, 1, 0) == 1) {
    if (c == '\n') return line;
    line.push_back(c);
  }
  return "";
}

bool ControlClient::power_off(int timeout_ms) {
  ask("stop");
  for (; timeout_ms > kPressMs; timeout_ms -= kPressMs) {
    if (wait_for_end(kPressMs)) return true;
    send("stop");
  }
  return wait_for_end(timeout_ms);
}

// What arrives meanwhile is of no interest.
bool ControlClient::wait_for_end(int timeout_ms) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0 || !readable(connection_, static_cast<int>(left))) return false;
    char discarded[256];
    if (::recv(connection_.get(), discarded, sizeof discarded, 0) <= 0) return true;
  }
}

StatusFields parse_status(const std::string& answer) {
  StatusFields fields;
  std::istringstream words(answer);
  for (std::string word; words >> word;) {
    const std::size_t equals = word.find('=');
    if (equals != std::string::npos) fields[word.substr(0, equals)] = word.substr(equals + 1);
  }
  return fields;
}

std::uint64_t number(const StatusFields& fields, const std::string& key) {
  const auto found = fields.find(key);
  return found == fields.end() ? 0 : std::strtoull(found->second.c_str(), nullptr, 10);
}

std::string mib_text(std::uint64_t bytes) {
  return std::to_string(bytes / kMiB) + "M";
}

}  // namespace bulkhead::cli
