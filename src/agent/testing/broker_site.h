// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "agent/protocol/obtain.h"
#include "agent/testing/certified_name.h"
#include "agent/testing/partition.h"
#include "attest/json/evidence_json.h"
#include "broker/broker.h"
#include "broker/http_server.h"
#include "broker/testing/fake_token.h"

namespace bulkhead::agent {

// The judgement of a broker's PolicyJudge, of which a test can switch checks off.
class JudgeForTest final : public broker::EvidenceJudge {
 public:
  JudgeForTest(const EvidenceCase& accepted, const CheckSwitches& switches)
      : accepted_(accepted), switches_(switches) {}

  Report judge(const broker::Question& question) const override {
    std::string error;
    const auto evidence = parse_evidence(question.evidence, error);
    if (!evidence) return Report({});
    EvidenceExpectation expectation = accepted_.expectation();
    expectation.challenge = question.challenge;
    expectation.asked_s_ago = question.nonce_age_s;
    if (question.secret) expectation.secret = std::string(*question.secret);
    return verify_evidence(*evidence, expectation, switches_).report;
  }

 private:
  const EvidenceCase& accepted_;
  const CheckSwitches switches_;
};

// The real broker over real TLS, with a token in memory: tenant alice, and her disk's key. Requests
// can be answered by the test instead.
class BrokerSite final : public broker::HttpHandler {
 public:
  using Interceptor =
      std::function<std::optional<broker::HttpResponse>(const broker::HttpRequest&)>;

  explicit BrokerSite(const EvidenceCase& accepted, const CheckSwitches& switches = {}) {
    CHECK(token_.make_keys("alice").has_value());
    broker::Tenants tenants;
    tenants["alice"] =
        broker::make_tenant({.name = "alice",
                             .judge = std::make_unique<JudgeForTest>(accepted, switches),
                             .sessions = {},
                             .rate = {1000, 1000}},
                            *token_.public_point("alice"))
            .value();
    broker_ = std::make_unique<broker::Broker>(broker::Broker::Parts{.tenants = std::move(tenants),
                                                                     .store = store_,
                                                                     .token = token_,
                                                                     .audit = audit_,
                                                                     .metrics = metrics_,
                                                                     .clock = clock_,
                                                                     .peer_rate = {1000, 1000}});
    put("default/disk/key", "alice's disk");
    listen(0);
  }

  broker::HttpResponse handle(const broker::HttpRequest& request) override {
    ++requests;
    if (before) {
      if (auto response = before(request)) return std::move(*response);
    }
    return broker_->handle(request);
  }

  void listen(std::uint16_t port) {
    server_ = broker::HttpServer::start({.address = {.host = "127.0.0.1", .port = port},
                                         .certificate_pem = name_.certificate(),
                                         .key_pem = name_.key(),
                                         .limits = {.body_bytes = 2 * kMiB},
                                         .handler = *this})
                  .value();
  }
  std::uint16_t stop() {
    const std::uint16_t port = server_->port();
    server_.reset();
    return port;
  }
  void put(const std::string& name, std::string_view secret) {
    const auto bytes = SecretBytes::copy_of(broker::bytes_of(secret));
    CHECK(broker::ResourceVault(store_, token_).put({"alice", name}, *bytes));
  }

  std::string address() const { return "tcp:127.0.0.1:" + std::to_string(server_->port()); }
  std::string ca_file() const { return name_.certificate_file(); }
  Request request() const {
    return {.address = parse_address(address()).value(),
            .server = {.ca_pem = name_.certificate(), .name = "127.0.0.1"},
            .tenant = "alice",
            .secret = "default/disk/key",
            .timeout = std::chrono::seconds(20)};
  }

  Interceptor before;
  std::atomic<unsigned> requests = 0;

 private:
  broker::TempDir dir_;
  CertifiedName name_{"IP:127.0.0.1"};
  broker::Clock clock_;
  broker::Metrics metrics_;
  broker::FakeToken token_;
  broker::ResourceStore store_ = broker::ResourceStore::open(dir_ / "store", true).value();
  broker::AuditLog audit_ = broker::AuditLog::open(dir_ / "audit").value();
  std::unique_ptr<broker::Broker> broker_;
  std::unique_ptr<broker::HttpServer> server_;
};

}  // namespace bulkhead::agent
