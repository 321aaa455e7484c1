// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "broker/broker.h"
#include "broker/config.h"
#include "broker/http_server.h"
#include "broker/token/token_client.h"

namespace bulkhead::broker {

// The host did not do as asked: exit status 1.
class HostError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A value, or a HostError that begins with the subject.
template <class T>
T value_of(Result<T> result, const std::string& subject) {
  if (result) return std::move(result).value();
  const Error error = result.error();
  std::string text = subject + ": " + error.what;
  if (error.os_errno != 0) text += std::string(": ") + strerrordesc_np(error.os_errno);
  throw HostError(text);
}
inline void check_host(const Result<void>& result, const std::string& subject) {
  if (!result) value_of<int>(result.error(), subject);
}

// Makes a tenant's judge; throws UsageError for a policy that is wrong.
using JudgeFactory = std::function<std::unique_ptr<EvidenceJudge>(const TenantConfig&)>;

// A running broker: its members, in the order in which they need each other.
class Service {
 public:
  struct Options {
    const Config& config;
    const JudgeFactory& judges;
    std::vector<std::string> token_command;
  };

  explicit Service(const Options& options);
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  std::uint16_t port() const { return server_->port(); }
  std::uint16_t metrics_port() const { return metrics_server_ ? metrics_server_->port() : 0; }
  TokenClient& token() { return *token_; }
  AuditLog& audit() { return audit_; }
  // Finishes what is under way, for at most ten seconds.
  void stop();

 private:
  class MetricsPage;

  Clock clock_;
  Metrics metrics_;
  AuditLog audit_;
  ResourceStore store_;
  std::unique_ptr<TokenClient> token_;
  std::unique_ptr<Broker> broker_;
  std::unique_ptr<HttpHandler> metrics_page_;
  std::unique_ptr<HttpServer> metrics_server_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace bulkhead::broker
