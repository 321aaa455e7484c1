// SPDX-License-Identifier: Apache-2.0
#include "broker/broker.h"

#include "broker/attestation_token.h"
#include "broker/jwe.h"
#include "broker/messages.h"
#include "broker/refusal.h"

namespace bulkhead::broker {
namespace {

constexpr unsigned kOk = 200;
constexpr unsigned kUnauthorized = 401;
constexpr unsigned kForbidden = 403;
constexpr unsigned kNotFound = 404;
constexpr unsigned kWrongMethod = 405;
constexpr unsigned kTooMany = 429;
constexpr std::size_t kShownSessionDigits = 16;

std::string label(std::string_view name, std::string_view value) {
  return std::string(name) + "=\"" + std::string(value) + "\"";
}

std::string_view method_of(Endpoint endpoint) {
  return endpoint == Endpoint::kResource ? "GET" : "POST";
}

std::uint64_t seconds_between(TimePoint from, TimePoint to) {
  const auto elapsed = std::chrono::ceil<std::chrono::seconds>(to - from).count();
  return elapsed < 0 ? 0 : static_cast<std::uint64_t>(elapsed);
}

// Enough to follow a session through the log, and nothing to take it over with.
std::string shown_session(const std::string& id) {
  const Result<Sha256Digest> digest = Sha256::of(bytes_of(id));
  return digest ? to_hex(*digest).substr(0, kShownSessionDigits) : "";
}

}  // namespace

struct Broker::Call {
  const HttpRequest& request;
  const Route& route;
  Tenant& tenant;
  TimePoint now;
  std::string session = {};
};

Broker::Broker(Parts parts)
    : tenants_(std::move(parts.tenants)),
      vault_(parts.store, parts.token),
      token_(parts.token),
      audit_(parts.audit),
      metrics_(parts.metrics),
      clock_(parts.clock),
      peer_rate_(parts.peer_rate),
      token_life_s_(parts.token_life_s) {}

HttpResponse Broker::handle(const HttpRequest& request) {
  const std::optional<Route> route = parse_route(request.path);
  if (!route) return refuse(kNotFound, "path", "no such path: /tenant/NAME/kbs/v0/...");
  Tenant* tenant = find_tenant(route->tenant);
  if (tenant == nullptr) return refuse(kNotFound, "tenant", "no such tenant: /tenant/NAME/kbs/v0/");
  HttpResponse response;
  if (is_within_rates(request, *tenant)) {
    Call call{.request = request, .route = *route, .tenant = *tenant, .now = clock_.now()};
    response = dispatch(call);
  } else {
    response = refuse(kTooMany, "rate", "too many requests; slow down");
  }
  metrics_.add("bulkhead_broker_requests_total",
               label("endpoint", to_string(route->endpoint)) + "," +
                   label("status", std::to_string(response.status)));
  return response;
}

// A path without a tenant means the only one there is.
Tenant* Broker::find_tenant(const std::string& name) const {
  if (name.empty()) return tenants_.size() == 1 ? tenants_.begin()->second.get() : nullptr;
  const auto found = tenants_.find(name);
  return found == tenants_.end() ? nullptr : found->second.get();
}

bool Broker::is_within_rates(const HttpRequest& request, Tenant& tenant) {
  const TimePoint now = clock_.now();
  if (!peer_rate_.allow(peer_group(request.peer), now)) {
    metrics_.add("bulkhead_broker_rate_limited_total", label("scope", "peer"));
    return false;
  }
  if (!tenant.rate.allow(tenant.name, now)) {
    metrics_.add("bulkhead_broker_rate_limited_total", label("scope", "tenant"));
    return false;
  }
  return true;
}

HttpResponse Broker::dispatch(Call& call) {
  if (call.request.method != method_of(call.route.endpoint)) {
    HttpResponse response = refuse(kWrongMethod, "method", "not a method of this path");
    response.headers.emplace_back("Allow", method_of(call.route.endpoint));
    return response;
  }
  switch (call.route.endpoint) {
    case Endpoint::kAuth:
      return challenge(call);
    case Endpoint::kAttest:
      return attest(call);
    case Endpoint::kResource:
      return release(call);
  }
  return refuse(kNotFound, "path", "no such path");
}

Result<void> Broker::record(const Call& call, std::string_view event, std::string_view outcome,
                            std::string reason) {
  metrics_.add("bulkhead_broker_decisions_total", label("tenant", call.tenant.name) + "," +
                                                      label("kind", event) + "," +
                                                      label("outcome", outcome));
  const AuditEntry entry{.event = std::string(event),
                         .outcome = std::string(outcome),
                         .tenant = call.tenant.name,
                         .peer = call.request.peer,
                         .session = call.session.empty() ? "" : shown_session(call.session),
                         .secret = call.route.resource,
                         .reason = std::move(reason)};
  return audit_.append(entry, outcome == "granted" && event != "challenge");
}

HttpResponse Broker::refuse_recorded(const Call& call, std::string_view event,
                                     HttpResponse response, std::string reason) {
  const Result<void> recorded =
      record(call, event, response.status < 500 ? "refused" : "failed", std::move(reason));
  if (!recorded) return refuse(503, "unavailable", recorded.error().what);
  return response;
}

HttpResponse Broker::challenge(Call& call) {
  if (const Result<void> checked = check_auth_request(call.request.body); !checked) {
    // The protocol wants 401 where a client's version is not understood.
    const bool is_version = checked.error().code == Errc::kUnsupported;
    return refuse(is_version ? kUnauthorized : 400, "request", checked.error().what);
  }
  const Result<SessionTable::Challenged> opened = call.tenant.sessions.open(call.now);
  if (!opened) return refuse(opened.error());
  call.session = opened->id;
  if (const auto recorded = record(call, "challenge", "granted", ""); !recorded) {
    return refuse(503, "unavailable", recorded.error().what);
  }
  HttpResponse response{.status = kOk, .body = challenge_body(opened->nonce)};
  // For this tenant's paths only: a client may have sessions with several.
  response.headers.emplace_back("Set-Cookie", std::string(kSessionCookie) + "=" + opened->id +
                                                  "; Path=" + prefix_of(call.route) +
                                                  "; Secure; HttpOnly; SameSite=Strict");
  return response;
}

Report Broker::judge(Call& call, const Proof& proof, std::optional<std::string_view> secret) {
  const Challenge challenge{.nonce = proof.nonce, .requester_key = proof.key.thumbprint()};
  const auto started = std::chrono::steady_clock::now();
  Report report =
      call.tenant.judge->judge({.evidence = proof.evidence,
                                .challenge = challenge,
                                .nonce_age_s = seconds_between(proof.challenged, call.now),
                                .secret = secret});
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - started;
  metrics_.add("bulkhead_broker_judge_seconds_total", "", elapsed.count());
  return report;
}

HttpResponse Broker::attest(Call& call) {
  const std::optional<std::string> session = session_cookie(call.request.cookie);
  if (!session) {
    return refuse(kUnauthorized, "session", "no session cookie: begin with auth");
  }
  call.session = *session;
  Result<AttestRequest> parsed = parse_attest_request(call.request.body);
  if (!parsed) return refuse_recorded(call, "attest", refuse(parsed.error()), parsed.error().what);
  const Result<SessionTable::Attempt> attempt = call.tenant.sessions.attempt(*session, call.now);
  if (!attempt) {
    return refuse_recorded(call, "attest", refuse(attempt.error()), "no such session");
  }
  HttpResponse response = answer_attempt(call, *attempt, std::move(*parsed));
  if (response.status != kOk) call.tenant.sessions.drop(*session);
  return response;
}

HttpResponse Broker::answer_attempt(Call& call, const SessionTable::Attempt& attempt,
                                    AttestRequest parsed) {
  if (parsed.nonce != attempt.nonce) {
    return refuse_recorded(call, "attest",
                           refuse(kUnauthorized, "nonce", "the nonce is not this session's"),
                           "nonce of another session");
  }
  Proof proof{.nonce = attempt.nonce,
              .challenged = attempt.challenged,
              .key = std::move(parsed.key),
              .evidence = std::move(parsed.evidence)};
  const Report report = judge(call, proof, std::nullopt);
  if (!report.accepted()) {
    return refuse_recorded(call, "attest", refuse(kUnauthorized, "evidence", report),
                           reason_of(report));
  }
  return finish_attest(call, std::move(proof), report);
}

HttpResponse Broker::finish_attest(Call& call, Proof proof, const Report& report) {
  const Result<std::string> token = issue_token(call.tenant, token_,
                                                {.session = call.session,
                                                 .key = proof.key,
                                                 .report = report,
                                                 .issued_s = clock_.unix_s(),
                                                 .life_s = token_life_s_});
  if (!token) {
    return refuse_recorded(call, "attest", refuse(503, "token", token.error().what),
                           token.error().what);
  }
  // In the log first: a session that is kept can be used at once.
  if (const auto recorded = record(call, "attest", "granted", ""); !recorded) {
    return refuse(503, "unavailable", recorded.error().what);
  }
  const Result<void> kept = call.tenant.sessions.keep(call.session, std::move(proof), call.now);
  if (!kept) return refuse_recorded(call, "attest", refuse(kept.error()), kept.error().what);
  return {.status = kOk, .body = Json{{"token", *token}}.dump()};
}

Result<std::string> Broker::session_of(Call& call) const {
  if (!call.request.authorization.empty()) {
    const std::optional<std::string_view> token = bearer_token(call.request.authorization);
    if (!token) return Error{Errc::kNotFound, 0, "Authorization: only Bearer is understood"};
    return session_of_token(call.tenant, *token, clock_.unix_s());
  }
  const std::optional<std::string> session = session_cookie(call.request.cookie);
  if (session) return *session;
  return Error{Errc::kNotFound, 0, "no session: attest first, and send the cookie or the token"};
}

HttpResponse Broker::release(Call& call) {
  const Result<std::string> session = session_of(call);
  if (!session) {
    return refuse_recorded(call, "release", refuse(session.error()), session.error().what);
  }
  call.session = *session;
  const std::shared_ptr<const Proof> proof = call.tenant.sessions.proof(*session, call.now);
  if (proof == nullptr) {
    return refuse_recorded(call, "release",
                           refuse(kUnauthorized, "session",
                                  "not attested: the session ended, or the broker was restarted"),
                           "no such session");
  }
  const Report report = judge(call, *proof, call.route.resource);
  if (!report.accepted()) {
    return refuse_recorded(call, "release", refuse(kForbidden, "policy", report),
                           reason_of(report));
  }
  return hand_over(call, *proof);
}

HttpResponse Broker::hand_over(Call& call, const Proof& proof) {
  const Result<SecretBytes> secret =
      vault_.get({.tenant = call.tenant.name, .name = call.route.resource});
  if (!secret) {
    const Error error = secret.error();
    const bool missing = error.code == Errc::kNotFound;
    return refuse_recorded(
        call, "release",
        refuse(missing ? kNotFound : 503, missing ? "resource" : "token", error.what), error.what);
  }
  const Result<std::string> sealed = encrypt_to(proof.key, *secret);
  if (!sealed) {
    return refuse_recorded(call, "release", refuse(503, "unavailable", sealed.error().what),
                           sealed.error().what);
  }
  if (const auto recorded = record(call, "release", "granted", ""); !recorded) {
    return refuse(503, "unavailable", recorded.error().what);
  }
  return {.status = kOk, .body = *sealed};
}

void Broker::measure() {
  for (const auto& [name, tenant] : tenants_) {
    metrics_.set("bulkhead_broker_sessions", label("tenant", name),
                 static_cast<double>(tenant->sessions.size()));
  }
  metrics_.set("bulkhead_broker_audit_entries", "", static_cast<double>(audit_.head().sequence));
}

}  // namespace bulkhead::broker
