// SPDX-License-Identifier: Apache-2.0
#include "agent/tls_connection.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>

#include "agent/address.h"
#include "crypto/openssl_bytes.h"
#include "crypto/openssl_errors.h"

namespace bulkhead::agent {
namespace {

struct Release {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
};
template <class T>
using Owned = std::unique_ptr<T, Release>;

constexpr int kMaxAuthorities = 64;

Error no_authority() {
  return Error{Errc::kInvalidArgument, 0,
               "the file of --ca has no certificates in PEM form: it has to hold the one that the "
               "broker's leads to"};
}

// Every certificate of the text, and nothing else is trusted: OpenSSL's default paths are not
// asked.
Result<void> add_authorities(X509_STORE* store, const std::string& pem) {
  if (pem.empty()) return no_authority();
  const Owned<BIO> bio(BIO_new_mem_buf(pem.data(), openssl_length(std::as_bytes(std::span(pem)))));
  if (bio == nullptr) return openssl_failed();
  int count = 0;
  for (; count < kMaxAuthorities; ++count) {
    const Owned<X509> certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (certificate == nullptr) break;
    if (X509_STORE_add_cert(store, certificate.get()) != 1) return openssl_failed();
  }
  if (count == 0) return no_authority();
  return {};
}

Result<void> set_expected_name(SSL* tls, const std::string& name) {
  X509_VERIFY_PARAM* expected = SSL_get0_param(tls);
  X509_VERIFY_PARAM_set_hostflags(
      expected, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  // An empty name would mean any.
  if (name.empty() || name.contains('\0')) {
    return Error{Errc::kInvalidArgument, 0, "the broker's name is missing: give --server-name"};
  }
  if (X509_VERIFY_PARAM_set1_ip_asc(expected, name.c_str()) == 1) return {};
  if (X509_VERIFY_PARAM_set1_host(expected, name.data(), name.size()) != 1 ||
      SSL_ctrl(tls, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
               const_cast<char*>(name.c_str())) != 1) {
    return Error{Errc::kInvalidArgument, 0, "--server-name is no name of a server"};
  }
  return {};
}

Error untrusted(long verdict) {
  const char* what = X509_verify_cert_error_string(verdict);  // a literal
  switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      what = "the broker's certificate is for another server: its name goes into --server-name";
      break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      what = "the broker's certificate does not lead to one in the file of --ca";
      break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED:
      what = "the broker's certificate is not valid now: look at it, and at this machine's clock";
      break;
    default:
      break;
  }
  return Error{Errc::kPermission, 0, what};
}

}  // namespace

void TlsConnection::Free::operator()(ssl_st* tls) const {
  SSL_free(tls);
}
void TlsConnection::Free::operator()(ssl_ctx_st* context) const {
  SSL_CTX_free(context);
}

Result<TlsConnection::Context> TlsConnection::make_context(const std::string& ca_pem) {
  Context context(SSL_CTX_new(TLS_client_method()));
  if (context == nullptr || SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) != 1) {
    return openssl_failed();
  }
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  TRY(add_authorities(SSL_CTX_get_cert_store(context.get()), ca_pem));
  return context;
}

Result<TlsConnection::Tls> TlsConnection::make_tls(ssl_ctx_st* context, int socket,
                                                   const std::string& name) {
  Tls tls(SSL_new(context));  // keeps the context
  if (tls == nullptr || SSL_set_fd(tls.get(), socket) != 1) return openssl_failed();
  TRY(set_expected_name(tls.get(), name));
  return tls;
}

Result<TlsConnection> TlsConnection::open(Fd socket, const ServerIdentity& server,
                                          const Deadline& deadline) {
  const ErrorQueueCleaner cleaner;
  const Context context = TRY(make_context(server.ca_pem));
  Tls tls = TRY(make_tls(context.get(), socket.get(), server.name));
  TlsConnection connection(std::move(socket), std::move(tls));
  TRY(connection.shake_hands(deadline));
  return connection;
}

Result<void> TlsConnection::shake_hands(const Deadline& deadline) {
  while (true) {
    ERR_clear_error();
    const int done = SSL_connect(tls_.get());
    if (done == 1) return {};
    const Result<void> again = await(done, deadline);
    if (again) continue;
    const long verdict = SSL_get_verify_result(tls_.get());
    if (verdict != X509_V_OK) return untrusted(verdict);
    return again.error();
  }
}

Result<void> TlsConnection::await(int returned, const Deadline& deadline) {
  switch (SSL_get_error(tls_.get(), returned)) {
    case SSL_ERROR_WANT_READ:
      return await_ready(socket_.get(), POLLIN, deadline);
    case SSL_ERROR_WANT_WRITE:
      return await_ready(socket_.get(), POLLOUT, deadline);
    case SSL_ERROR_ZERO_RETURN:
    case SSL_ERROR_SYSCALL:
      return Error{Errc::kClosed, 0, "the broker closed the connection"};
    default:
      break;
  }
  // OpenSSL 3 reports an end without a goodbye in this way.
  if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
    return Error{Errc::kClosed, 0, "the broker closed the connection"};
  }
  return Error{Errc::kMalformed, 0, "what answers there does not speak TLS 1.3"};
}

Result<void> TlsConnection::write(std::span<const std::byte> bytes, const Deadline& deadline) {
  const ErrorQueueCleaner cleaner;
  std::size_t done = 0;
  // One call writes all, or has to be made again with the same bytes.
  while (true) {
    ERR_clear_error();
    const int written = SSL_write_ex(tls_.get(), bytes.data(), bytes.size(), &done);
    if (written == 1) return {};
    TRY(await(written, deadline));
  }
}

Result<std::size_t> TlsConnection::read(std::span<std::byte> buffer, const Deadline& deadline) {
  const ErrorQueueCleaner cleaner;
  while (true) {
    std::size_t got = 0;
    ERR_clear_error();
    const int done = SSL_read_ex(tls_.get(), buffer.data(), buffer.size(), &got);
    if (done == 1) return got;
    TRY(await(done, deadline));
    // A peer that keeps the socket ready with records that hold nothing does not keep us.
    if (deadline.passed()) return Error{Errc::kTimeout, 0, "the broker does not answer in time"};
  }
}

}  // namespace bulkhead::agent
