// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string>

#include "agent/deadline.h"
#include "base/fd.h"

struct ssl_st;      // OpenSSL's SSL
struct ssl_ctx_st;  // OpenSSL's SSL_CTX

namespace bulkhead::agent {

// Whom a connection must lead to. There is no way to do without.
struct ServerIdentity {
  std::string ca_pem;  // certificates, one of which the server's must lead to; no others count
  std::string name;    // that its certificate must have: a DNS name or a numeric address
};

// TLS 1.3, and nothing older, over a socket that does not block.
class TlsConnection {
 public:
  // kPermission: it is not the server that is meant. kMalformed: it does not speak TLS 1.3.
  // kInvalidArgument: the identity is none. kClosed, kTimeout: the other side, or nobody.
  static Result<TlsConnection> open(Fd socket, const ServerIdentity& server,
                                    const Deadline& deadline);

  Result<void> write(std::span<const std::byte> bytes, const Deadline& deadline);
  // At least one byte; kClosed at the end.
  Result<std::size_t> read(std::span<std::byte> buffer, const Deadline& deadline);

 private:
  struct Free {
    void operator()(ssl_st* tls) const;
    void operator()(ssl_ctx_st* context) const;
  };
  using Tls = std::unique_ptr<ssl_st, Free>;
  using Context = std::unique_ptr<ssl_ctx_st, Free>;

  TlsConnection(Fd socket, Tls tls) : socket_(std::move(socket)), tls_(std::move(tls)) {}
  static Result<Context> make_context(const std::string& ca_pem);
  static Result<Tls> make_tls(ssl_ctx_st* context, int socket, const std::string& name);
  Result<void> shake_hands(const Deadline& deadline);
  // After a call that returned this: waits until it can be made again, or says why it cannot.
  Result<void> await(int returned, const Deadline& deadline);

  Fd socket_;
  Tls tls_;
};

}  // namespace bulkhead::agent
