// SPDX-License-Identifier: Apache-2.0
#include "broker/service.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "broker/refusal.h"

namespace bulkhead::broker {
namespace {

constexpr std::chrono::milliseconds kGrace{10'000};
constexpr std::size_t kMaxPemBytes = 256 * 1024;

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxPemBytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.empty()) throw HostError(path + ": cannot be read, or is empty");
  return text;
}

// A key that others can read is none.
std::string read_private(const std::string& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) == 0 && (status.st_mode & 077) != 0) {
    throw HostError(path + ": the key is open to others: chmod 600");
  }
  return read_text(path);
}

// A log that was changed is not added to: what it says has to be looked into first.
AuditLog open_audit(const std::string& path) {
  AuditLog log = value_of(AuditLog::open(path), path);
  AuditFault fault;
  if (!verify_audit(path, std::nullopt, fault)) {
    throw HostError(path + ": line " + std::to_string(fault.line) + ": " + fault.what +
                    "; put it aside, and start with a new one");
  }
  return log;
}

Tenants make_tenants(const Service::Options& options, TokenClient& token) {
  Tenants tenants;
  for (const TenantConfig& each : options.config.tenants) {
    const Bytes point = value_of(token.public_point(each.name), "tenant " + each.name);
    TenantOptions made{.name = each.name,
                       .judge = options.judges(each),
                       .sessions = options.config.sessions,
                       .rate = options.config.tenant_rate};
    tenants[each.name] = value_of(make_tenant(std::move(made), point), "tenant " + each.name);
  }
  return tenants;
}

}  // namespace

// What a Prometheus server reads: on an address of its own, without TLS and without secrets.
class Service::MetricsPage final : public HttpHandler {
 public:
  MetricsPage(Metrics& metrics, Broker& broker, TokenClient& token)
      : metrics_(metrics), broker_(broker), token_(token) {}

  HttpResponse handle(const HttpRequest& request) override {
    if (request.path != "/metrics" || request.method != "GET") {
      return refuse(404, "path", "GET /metrics is all there is");
    }
    broker_.measure();
    metrics_.set("bulkhead_broker_token_up", "", token_.is_up() ? 1 : 0);
    metrics_.set("bulkhead_broker_token_starts_total", "", static_cast<double>(token_.starts()));
    return {.status = 200,
            .body = metrics_.text(),
            .content_type = "text/plain; version=0.0.4; charset=utf-8"};
  }

 private:
  Metrics& metrics_;
  Broker& broker_;
  TokenClient& token_;
};

Service::Service(const Options& options)
    : audit_(open_audit(options.config.audit_path())),
      store_(value_of(ResourceStore::open(options.config.store_path(), false),
                      options.config.store_path())),
      token_(value_of(TokenClient::start({.command = options.token_command}), "token")) {
  const Config& config = options.config;
  broker_ =
      std::make_unique<Broker>(Broker::Parts{.tenants = make_tenants(options, *token_),
                                             .store = store_,
                                             .token = *token_,
                                             .audit = audit_,
                                             .metrics = metrics_,
                                             .clock = clock_,
                                             .peer_rate = config.peer_rate,
                                             .token_life_s = config.sessions.session_life.count()});
  if (!config.metrics.host.empty()) {
    metrics_page_ = std::make_unique<MetricsPage>(metrics_, *broker_, *token_);
    metrics_server_ =
        value_of(HttpServer::start({.address = config.metrics,
                                    .limits = {.body_bytes = 0, .connections = 16, .threads = 1},
                                    .handler = *metrics_page_}),
                 "metrics");
  }
  server_ = value_of(HttpServer::start({.address = config.listen,
                                        .certificate_pem = read_text(config.certificate),
                                        .key_pem = read_private(config.key),
                                        .limits = config.http,
                                        .handler = *broker_}),
                     "listen");
}

void Service::stop() {
  server_->stop(kGrace);
  if (metrics_server_) metrics_server_->stop(std::chrono::milliseconds(0));
}

}  // namespace bulkhead::broker
