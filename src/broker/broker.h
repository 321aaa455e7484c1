// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <memory>

#include "broker/audit_log.h"
#include "broker/http.h"
#include "broker/messages.h"
#include "broker/metrics.h"
#include "broker/resource_vault.h"
#include "broker/route.h"
#include "broker/tenant.h"

namespace bulkhead::broker {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const { return std::chrono::steady_clock::now(); }
  virtual std::int64_t unix_s() const {
    return std::chrono::duration_cast<std::chrono::seconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

using Tenants = std::map<std::string, std::unique_ptr<Tenant>, std::less<>>;

// The key-broker protocol over everything else here. Nothing is granted unless the judge accepts,
// the token gives the key, and the decision stands in the audit log.
class Broker final : public HttpHandler {
 public:
  struct Parts {
    Tenants tenants;
    ResourceStore& store;
    KeyToken& token;
    AuditLog& audit;
    Metrics& metrics;
    const Clock& clock;
    Rate peer_rate;
    std::int64_t token_life_s = 300;
  };

  explicit Broker(Parts parts);

  HttpResponse handle(const HttpRequest& request) override;
  // Brings the gauges up to date.
  void measure();

 private:
  struct Call;  // one request on its way through

  HttpResponse dispatch(Call& call);
  HttpResponse challenge(Call& call);
  HttpResponse attest(Call& call);
  HttpResponse answer_attempt(Call& call, const SessionTable::Attempt& attempt,
                              AttestRequest parsed);
  HttpResponse finish_attest(Call& call, Proof proof, const Report& report);
  HttpResponse release(Call& call);
  HttpResponse hand_over(Call& call, const Proof& proof);
  Result<std::string> session_of(Call& call) const;
  Report judge(Call& call, const Proof& proof, std::optional<std::string_view> secret);
  Tenant* find_tenant(const std::string& name) const;
  bool is_within_rates(const HttpRequest& request, Tenant& tenant);
  // Whether the decision stands in the log: nothing is granted otherwise.
  Result<void> record(const Call& call, std::string_view event, std::string_view outcome,
                      std::string reason);
  HttpResponse refuse_recorded(const Call& call, std::string_view event, HttpResponse response,
                               std::string reason);

  Tenants tenants_;
  ResourceVault vault_;
  KeyToken& token_;
  AuditLog& audit_;
  Metrics& metrics_;
  const Clock& clock_;
  RateLimiter peer_rate_;
  const std::int64_t token_life_s_;
};

}  // namespace bulkhead::broker
