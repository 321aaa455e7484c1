// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "agent/testing/certified_name.h"
#include "base/fd.h"
#include "crypto/openssl_bytes.h"

namespace bulkhead::agent {

// A TLS server that answers the n-th request of a connection with the n-th text, whatever it was,
// and then hangs up.
class LyingServer {
 public:
  struct Lies {
    std::string name = "IP:127.0.0.1";
    std::vector<std::string> answers = {};
    int max_version = TLS1_3_VERSION;
    std::chrono::milliseconds between_bytes{0};
    bool stays = false;  // silent behind the last answer, instead of hanging up
  };

  explicit LyingServer(Lies lies) : lies_(std::move(lies)), certified_(lies_.name) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* raw = static_cast<sockaddr*>(static_cast<void*>(&address));
    socklen_t size = sizeof address;
    CHECK(::bind(listener_.get(), raw, size) == 0 && ::listen(listener_.get(), 8) == 0);
    CHECK(::getsockname(listener_.get(), raw, &size) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { run(); });
  }
  ~LyingServer() {
    stopping_ = true;
    thread_.join();
  }
  LyingServer(const LyingServer&) = delete;
  LyingServer& operator=(const LyingServer&) = delete;

  std::string address() const { return "tcp:127.0.0.1:" + std::to_string(port_); }
  std::string ca() const { return certified_.certificate(); }
  unsigned connections() const { return connections_; }

 private:
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
    void operator()(SSL* tls) const { SSL_free(tls); }
    void operator()(BIO* bio) const { BIO_free(bio); }
    void operator()(X509* certificate) const { X509_free(certificate); }
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  };
  template <class T>
  using Owned = std::unique_ptr<T, Free>;

  static Owned<BIO> bio_of(const std::string& text) {
    return Owned<BIO>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  }
  Owned<SSL_CTX> make_context() const {
    Owned<SSL_CTX> context(SSL_CTX_new(TLS_server_method()));
    const std::string certificate_pem = certified_.certificate();
    const std::string key_pem = certified_.key();
    const Owned<X509> certificate(
        PEM_read_bio_X509(bio_of(certificate_pem).get(), nullptr, nullptr, nullptr));
    const Owned<EVP_PKEY> key(
        PEM_read_bio_PrivateKey(bio_of(key_pem).get(), nullptr, nullptr, nullptr));
    CHECK(SSL_CTX_use_certificate(context.get(), certificate.get()) == 1);
    CHECK(SSL_CTX_use_PrivateKey(context.get(), key.get()) == 1);
    CHECK(SSL_CTX_set_max_proto_version(context.get(), lies_.max_version) == 1);
    return context;
  }
  void run() {
    const Owned<SSL_CTX> context = make_context();
    while (!stopping_) {
      pollfd entry{.fd = listener_.get(), .events = POLLIN, .revents = 0};
      if (::poll(&entry, 1, 20) <= 0) continue;
      const Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      const Owned<SSL> tls(SSL_new(context.get()));
      SSL_set_fd(tls.get(), socket.get());
      ++connections_;
      if (SSL_accept(tls.get()) == 1) answer(tls.get());
    }
  }
  void answer(SSL* tls) {
    for (const std::string& text : lies_.answers) {
      char buffer[64 * 1024];
      // A request of our agent's may take several records; its end is not looked for.
      if (SSL_read(tls, buffer, sizeof buffer) <= 0) return;
      if (!send(tls, text)) return;
    }
    while (lies_.stays && !stopping_) ::usleep(10'000);
    SSL_shutdown(tls);
  }
  bool send(SSL* tls, const std::string& text) {
    if (lies_.between_bytes.count() == 0) {
      return SSL_write(tls, text.data(), static_cast<int>(text.size())) > 0;
    }
    for (const char& byte : text) {
      if (stopping_ || SSL_write(tls, &byte, 1) != 1) return false;
      std::this_thread::sleep_for(lies_.between_bytes);
    }
    return true;
  }

  const Lies lies_;
  const CertifiedName certified_;
  const Fd listener_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  std::uint16_t port_ = 0;
  std::atomic<bool> stopping_ = false;
  std::atomic<unsigned> connections_ = 0;
  std::thread thread_;
};

}  // namespace bulkhead::agent
