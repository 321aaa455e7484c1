// SPDX-License-Identifier: Apache-2.0
#include "broker/http_server.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <exception>

#include "base/log.h"
#include "broker/refusal.h"

namespace bulkhead::broker {
namespace {

constexpr std::size_t kConnectionMemory = 16 * 1024;  // request line, headers, and the answer's
constexpr int kWatchMs = 500;
constexpr const char* kTlsPriorities = "NORMAL:-VERS-ALL:+VERS-TLS1.3";

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const {
    return static_cast<const sockaddr*>(static_cast<const void*>(this));
  }
};

Result<SocketAddress> resolve(const ListenAddress& address) {
  SocketAddress out;
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  if (::inet_pton(AF_INET, address.host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(address.port);
    std::memcpy(&out.storage, &v4, sizeof v4);
    out.size = sizeof v4;
    return out;
  }
  if (::inet_pton(AF_INET6, address.host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(address.port);
    std::memcpy(&out.storage, &v6, sizeof v6);
    out.size = sizeof v6;
    return out;
  }
  return Error{Errc::kInvalidArgument, 0, "not a numeric address to listen at"};
}

std::string text_of_address(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address->sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, address, sizeof v4);
    ::inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
  } else if (address->sa_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, address, sizeof v6);
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
  }
  return text.data();
}

std::string peer_of(MHD_Connection* connection) {
  const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
  return info == nullptr ? "" : text_of_address(info->client_addr);
}

std::string header_of(MHD_Connection* connection, const char* name) {
  const char* value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
  return value == nullptr ? "" : value;
}

bool has_query(MHD_Connection* connection) {
  return MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, nullptr, nullptr) > 0;
}

// A path stays as it came: "%2f" is no slash here.
std::size_t leave_encoded(void* /*unused*/, MHD_Connection* /*connection*/, char* text) {
  return std::strlen(text);
}

void log_line(void* /*unused*/, const char* /*format*/, va_list /*values*/) {
  // What peers do wrong is counted by the kernel and seen in the metrics, not written to a log.
}

}  // namespace

struct HttpServer::Exchange {
  explicit Exchange(std::atomic<unsigned>& counter) : under_way(counter) { ++under_way; }
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  ~Exchange() { --under_way; }

  std::atomic<unsigned>& under_way;
  HttpRequest request;
  bool too_large = false;
};

struct HttpServer::Callbacks {
  static MHD_Result on_request(void* self, MHD_Connection* connection, const char* url,
                               const char* method, const char* /*version*/, const char* data,
                               std::size_t* size, void** state) {
    auto* server = static_cast<HttpServer*>(self);
    auto* exchange = static_cast<Exchange*>(*state);
    try {
      if (exchange != nullptr) {
        return server->receive(*exchange, connection, data, size) == MHD_YES ? MHD_YES : MHD_NO;
      }
      auto begun = std::make_unique<Exchange>(server->under_way_);
      begun->request.method = method;
      begun->request.path = url;
      *state = begun.release();
      return MHD_YES;
    } catch (const std::exception&) {
      return MHD_NO;  // no memory: the connection is closed
    }
  }

  static void on_completed(void* /*self*/, MHD_Connection* /*connection*/, void** state,
                           MHD_RequestTerminationCode /*why*/) {
    delete static_cast<Exchange*>(*state);
    *state = nullptr;
  }

  static void on_connection(void* self, MHD_Connection* connection, void** /*context*/,
                            MHD_ConnectionNotificationCode what) {
    auto* server = static_cast<HttpServer*>(self);
    const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info == nullptr) return;
    const MutexLock lock(server->mutex_);
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
      server->connections_[info->connect_fd] = std::chrono::steady_clock::now();
    } else {
      server->connections_.erase(info->connect_fd);
    }
  }
};

int HttpServer::receive(Exchange& exchange, MHD_Connection* connection, const char* data,
                        std::size_t* size) {
  HttpRequest& request = exchange.request;
  if (*size > 0) {
    exchange.too_large = exchange.too_large || *size > limits_.body_bytes - request.body.size();
    if (!exchange.too_large) request.body.append(data, *size);
    *size = 0;
    return MHD_YES;
  }
  request.cookie = header_of(connection, MHD_HTTP_HEADER_COOKIE);
  request.authorization = header_of(connection, MHD_HTTP_HEADER_AUTHORIZATION);
  request.peer = peer_of(connection);
  if (has_query(connection)) request.path += '?';
  return answer(connection, exchange);
}

int HttpServer::answer(MHD_Connection* connection, const Exchange& exchange) {
  HttpResponse response;
  try {
    response = exchange.too_large ? refuse(413, "size", "the request's body is too large")
                                  : handler_.handle(exchange.request);
  } catch (const std::exception&) {
    log_error("request-failed", {{"path", exchange.request.path}});
    response = refuse(500, "internal", "the broker failed");
  }
  MHD_Response* raw = MHD_create_response_from_buffer(response.body.size(), response.body.data(),
                                                      MHD_RESPMEM_MUST_COPY);
  if (raw == nullptr) return MHD_NO;
  MHD_add_response_header(raw, MHD_HTTP_HEADER_CONTENT_TYPE, response.content_type.c_str());
  MHD_add_response_header(raw, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  for (const auto& [name, value] : response.headers) {
    MHD_add_response_header(raw, name.c_str(), value.c_str());
  }
  const MHD_Result queued = MHD_queue_response(connection, response.status, raw);
  MHD_destroy_response(raw);
  return queued;
}

Result<void> HttpServer::listen(const Options& options) {
  const SocketAddress address = TRY(resolve(options.address));
  unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG;
  if (address.storage.ss_family == AF_INET6) flags |= MHD_USE_IPv6;
  const bool tls = !options.certificate_pem.empty();
  if (tls) flags |= MHD_USE_TLS;
  std::array<MHD_OptionItem, 4> tls_options = {
      MHD_OptionItem{MHD_OPTION_HTTPS_MEM_CERT, 0,
                     const_cast<char*>(options.certificate_pem.c_str())},
      MHD_OptionItem{MHD_OPTION_HTTPS_MEM_KEY, 0, const_cast<char*>(options.key_pem.c_str())},
      MHD_OptionItem{MHD_OPTION_HTTPS_PRIORITIES, 0, const_cast<char*>(kTlsPriorities)},
      MHD_OptionItem{MHD_OPTION_END, 0, nullptr}};
  daemon_ = MHD_start_daemon(
      flags, options.address.port, nullptr, nullptr, &Callbacks::on_request, this,
      MHD_OPTION_EXTERNAL_LOGGER, &log_line, nullptr, MHD_OPTION_SOCK_ADDR, address.get(),
      MHD_OPTION_NOTIFY_COMPLETED, &Callbacks::on_completed, this, MHD_OPTION_NOTIFY_CONNECTION,
      &Callbacks::on_connection, this, MHD_OPTION_UNESCAPE_CALLBACK, &leave_encoded, nullptr,
      MHD_OPTION_CONNECTION_LIMIT, limits_.connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
      limits_.connections_per_peer, MHD_OPTION_CONNECTION_MEMORY_LIMIT, kConnectionMemory,
      MHD_OPTION_CONNECTION_TIMEOUT, static_cast<unsigned>(limits_.silence.count()),
      MHD_OPTION_THREAD_POOL_SIZE, limits_.threads, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u,
      MHD_OPTION_ARRAY, tls ? tls_options.data() : &tls_options.back(), MHD_OPTION_END);
  if (daemon_ == nullptr) {
    return Error{Errc::kBusy, 0, "cannot listen: address in use, or no good certificate and key"};
  }
  const auto* info = MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_BIND_PORT);
  port_ = info == nullptr ? options.address.port : info->port;
  return {};
}

Result<std::unique_ptr<HttpServer>> HttpServer::start(const Options& options) {
  std::unique_ptr<HttpServer> server(new HttpServer(options));
  server->stop_ = TRY(Fd::event());
  TRY(server->listen(options));
  server->watcher_ = std::thread([raw = server.get()] { raw->watch(); });
  return server;
}

HttpServer::~HttpServer() {
  stop(std::chrono::milliseconds(0));
}

// A peer that sends a byte now and then is never silent, but not for ever.
void HttpServer::end_old_connections() {
  const auto now = std::chrono::steady_clock::now();
  const MutexLock lock(mutex_);
  for (const auto& [fd, since] : connections_) {
    if (now - since >= limits_.connection_life) ::shutdown(fd, SHUT_RDWR);
  }
}

void HttpServer::watch() {
  pollfd entry{.fd = stop_.get(), .events = POLLIN, .revents = 0};
  while (::poll(&entry, 1, kWatchMs) <= 0) end_old_connections();
}

void HttpServer::stop(std::chrono::milliseconds grace) {
  if (daemon_ == nullptr) return;
  const Fd listener(MHD_quiesce_daemon(daemon_));
  // Who connects now is told so, instead of waiting in a queue that nobody looks at. Closed only at
  // the end: a thread may still be about to accept.
  ::shutdown(listener.get(), SHUT_RDWR);
  const auto end = std::chrono::steady_clock::now() + grace;
  while (under_way_ > 0 && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  signal_event(stop_.get());
  if (watcher_.joinable()) watcher_.join();
  MHD_stop_daemon(daemon_);
  daemon_ = nullptr;
}

}  // namespace bulkhead::broker
