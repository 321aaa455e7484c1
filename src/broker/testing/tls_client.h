// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "base/fd.h"

namespace bulkhead::broker {

struct Answer {
  int status = 0;  // 0: none came
  std::string head;
  std::string body;
};

// One connection of a client that knows just enough of HTTP/1.1.
class TlsClient {
 public:
  explicit TlsClient(std::uint16_t port)
      : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const auto* raw = static_cast<const sockaddr*>(static_cast<const void*>(&address));
    if (::connect(socket_.get(), raw, sizeof address) != 0) return;
    SSL_CTX_set_min_proto_version(context_.get(), TLS1_3_VERSION);
    tls_.reset(SSL_new(context_.get()));
    SSL_set_fd(tls_.get(), socket_.get());
    if (SSL_connect(tls_.get()) != 1) tls_.reset();
  }
  bool connected() const { return tls_ != nullptr; }

  Answer request(const std::string& line, const std::string& headers,
                 const std::string& body = "") {
    const std::string text =
        line + " HTTP/1.1\r\nHost: localhost\r\n" + headers +
        (line.starts_with("POST") ? "Content-Length: " + std::to_string(body.size()) + "\r\n"
                                  : "") +
        "\r\n" + body;
    return send(text) ? receive() : Answer{};
  }
  bool send(const std::string& text) {
    return tls_ != nullptr && SSL_write(tls_.get(), text.data(), static_cast<int>(text.size())) ==
                                  static_cast<int>(text.size());
  }
  Answer receive() {
    std::string all;
    std::size_t end = std::string::npos;
    while ((end = all.find("\r\n\r\n")) == std::string::npos) {
      if (!read_more(all)) return {};
    }
    Answer answer{.status = std::atoi(all.c_str() + std::strlen("HTTP/1.1 ")),
                  .head = all.substr(0, end + 2),
                  .body = all.substr(end + 4)};
    const std::size_t length = answer.head.find("Content-Length: ");
    if (length == std::string::npos) return answer;
    const auto size = static_cast<std::size_t>(std::atol(answer.head.c_str() + length + 16));
    while (answer.body.size() < size) {
      if (!read_more(answer.body)) return {};
    }
    return answer;
  }

 private:
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
    void operator()(SSL* tls) const { SSL_free(tls); }
  };

  bool read_more(std::string& text) {
    char buffer[4096];
    const int got = SSL_read(tls_.get(), buffer, sizeof buffer);
    if (got <= 0) return false;
    text.append(buffer, static_cast<std::size_t>(got));
    return true;
  }

  Fd socket_;
  std::unique_ptr<SSL_CTX, Free> context_{SSL_CTX_new(TLS_client_method())};
  std::unique_ptr<SSL, Free> tls_;
};

// The session cookie that an answer sets, as it is sent back.
inline std::string cookie_header(const Answer& answer) {
  const std::size_t start = answer.head.find("Set-Cookie: ");
  if (start == std::string::npos) return {};
  const std::size_t end = answer.head.find(';', start);
  return "Cookie: " + answer.head.substr(start + 12, end - start - 12) + "\r\n";
}

}  // namespace bulkhead::broker
