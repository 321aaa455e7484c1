// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/fd.h"
#include "base/thread_annotations.h"
#include "broker/http.h"

struct MHD_Daemon;  // libmicrohttpd's server
struct MHD_Connection;

namespace bulkhead::broker {

struct ListenAddress {
  std::string host;  // numeric, IPv4 or IPv6
  std::uint16_t port = 0;
};

struct HttpLimits {
  std::size_t body_bytes = 0;
  unsigned connections = 512;
  unsigned connections_per_peer = 64;
  unsigned threads = 8;
  std::chrono::seconds silence{10};          // of a peer
  std::chrono::seconds connection_life{60};  // whatever happens on it
};

// HTTP/1.1, over TLS 1.3 and nothing older if there is a certificate. Everything that a peer can
// make it hold is bounded: headers 16 KiB, bodies, connections, time.
class HttpServer {
 public:
  struct Options {
    ListenAddress address;             // port 0: any free one
    std::string certificate_pem = {};  // empty: no TLS
    std::string key_pem = {};
    HttpLimits limits;
    HttpHandler& handler;
  };

  static Result<std::unique_ptr<HttpServer>> start(const Options& options);
  ~HttpServer();

  std::uint16_t port() const { return port_; }
  // Takes no more connections, finishes what is under way within `grace`, and closes all.
  void stop(std::chrono::milliseconds grace);

 private:
  struct Exchange;   // one request while it arrives
  struct Callbacks;  // what libmicrohttpd calls

  explicit HttpServer(const Options& options)
      : handler_(options.handler), limits_(options.limits) {}
  Result<void> listen(const Options& options);
  void end_old_connections();
  void watch();
  int receive(Exchange& exchange, MHD_Connection* connection, const char* data, std::size_t* size);
  int answer(MHD_Connection* connection, const Exchange& exchange);

  HttpHandler& handler_;
  const HttpLimits limits_;
  std::uint16_t port_ = 0;
  MHD_Daemon* daemon_ = nullptr;
  std::atomic<unsigned> under_way_ = 0;
  Mutex mutex_;
  std::map<int, std::chrono::steady_clock::time_point> connections_ GUARDED_BY(mutex_);
  Fd stop_;  // an eventfd: the watcher shall end
  std::thread watcher_;
};

}  // namespace bulkhead::broker
