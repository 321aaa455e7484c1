// SPDX-License-Identifier: Apache-2.0
#include "cli/daemon_client.h"

#include <cstdlib>

#include "cli/error.h"
#include "mem/daemon_connection.h"

namespace bulkhead::cli {
namespace {

constexpr int kPatienceSeconds = 5;

}  // namespace

std::string daemon_socket() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the command line has one thread
  const char* own = std::getenv("BULKHEAD_DAEMON_SOCKET");
  return own != nullptr && *own == '/' ? own : daemon::kDefaultSocket;
}

// One that is busy answers later.
bool daemon_answers(const std::string& socket) {
  const auto connection = daemon::Connection::open(socket, kPatienceSeconds);
  return connection || connection.error().code == Errc::kTimeout;
}

std::optional<DaemonSnapshot> ask_daemon(const std::string& socket) {
  auto connection = daemon::Connection::open(socket, kPatienceSeconds);
  if (!connection && connection.error().code == Errc::kNotFound) return std::nullopt;
  auto view = connection ? connection->snapshot() : connection.error();
  if (!view) throw HostError(std::string("bulkheadd gives no ledger: ") + view.error().what);
  return DaemonSnapshot{.view = std::move(*view), .daemon = connection->daemon()};
}

}  // namespace bulkhead::cli
