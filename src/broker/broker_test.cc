// SPDX-License-Identifier: Apache-2.0
// The protocol over a store, a log and a token in memory: who gets what, and who does not.
#include "broker/broker.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "broker/messages.h"
#include "broker/testing/fake_token.h"
#include "broker/testing/requester.h"
#include "broker/testing/shell.h"

namespace bulkhead::broker {
namespace {

constexpr const char* kDisk = "default/disk/key";
constexpr const char* kOther = "default/other/key";

class TestClock final : public Clock {
 public:
  TimePoint now() const override { return start_ + elapsed; }
  std::int64_t unix_s() const override { return 1'800'000'000 + elapsed.count(); }
  std::chrono::seconds elapsed{0};

 private:
  TimePoint start_ = std::chrono::steady_clock::now();
};

std::unique_ptr<Tenant> tenant_named(const std::string& name, FakeToken& token, Rate rate) {
  CHECK(token.make_keys(name).has_value());
  auto made = make_tenant({.name = name,
                           .judge = std::make_unique<ScriptedJudge>(),
                           .sessions = {.sessions = 8},
                           .rate = rate},
                          *token.public_point(name));
  CHECK(made.has_value());
  return std::move(made).value();
}

class BrokerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = ResourceStore::open(dir_ / "store", true);
    ASSERT_TRUE(opened) << opened.error().what;
    store_ = std::make_unique<ResourceStore>(std::move(opened).value());
    auto log = AuditLog::open(dir_ / "audit");
    ASSERT_TRUE(log) << log.error().what;
    audit_ = std::make_unique<AuditLog>(std::move(log).value());
    restart();
    put("alice", kDisk, "alice's disk");
    put("bob", kDisk, "bob's disk");
  }

  // The broker's process ends, and another begins with the same store, log and token.
  void restart(Rate peer = {1000, 1000}, Rate tenant = {1000, 1000}) {
    Tenants tenants;
    for (const char* name : {"alice", "bob"}) tenants[name] = tenant_named(name, token_, tenant);
    broker_ = std::make_unique<Broker>(Broker::Parts{.tenants = std::move(tenants),
                                                     .store = *store_,
                                                     .token = token_,
                                                     .audit = *audit_,
                                                     .metrics = metrics_,
                                                     .clock = clock_,
                                                     .peer_rate = peer});
  }

  void put(const std::string& tenant, const std::string& name, const std::string& secret) {
    const auto bytes = SecretBytes::copy_of(bytes_of(secret));
    const auto done = ResourceVault(*store_, token_).put({tenant, name}, *bytes);
    ASSERT_TRUE(done) << done.error().what;
  }

  HttpResponse post(const std::string& path, const std::string& body,
                    const std::string& cookie = "") {
    return broker_->handle(
        {.method = "POST", .path = path, .cookie = cookie, .body = body, .peer = "192.0.2.1"});
  }
  HttpResponse get(const std::string& path, const std::string& cookie,
                   const std::string& authorization = "") {
    return broker_->handle({.method = "GET",
                            .path = path,
                            .cookie = cookie,
                            .authorization = authorization,
                            .peer = "192.0.2.1"});
  }

  struct Session {
    std::string cookie;
    std::string challenge;
  };
  Session begin(const std::string& tenant = "alice") {
    const HttpResponse response = post(at(tenant, "auth"), Requester::auth_body());
    EXPECT_EQ(response.status, 200u) << response.body;
    for (const auto& [name, value] : response.headers) {
      if (name == "Set-Cookie") return {value.substr(0, value.find(';')), response.body};
    }
    ADD_FAILURE() << "no cookie";
    return {};
  }
  HttpResponse attest(const Session& session, const Json& grants,
                      const std::string& tenant = "alice") {
    return post(at(tenant, "attest"),
                me_.attest_body(session.challenge, me_.evidence(session.challenge, grants)),
                session.cookie);
  }
  // A session that has attested.
  Session attested(const Json& grants = {kDisk}, const std::string& tenant = "alice") {
    const Session session = begin(tenant);
    const HttpResponse response = attest(session, grants, tenant);
    EXPECT_EQ(response.status, 200u) << response.body;
    if (response.status == 200) token_text_ = Json::parse(response.body).at("token");
    return session;
  }
  HttpResponse fetch(const Session& session, const std::string& tenant = "alice",
                     const std::string& name = kDisk) {
    return get(at(tenant, "resource/" + name), session.cookie);
  }
  static std::string at(const std::string& tenant, const std::string& rest) {
    return "/tenant/" + tenant + "/kbs/v0/" + rest;
  }
  std::string audit_text() {
    std::ifstream file(dir_ / "audit");
    return {std::istreambuf_iterator<char>(file), {}};
  }

  TempDir dir_;
  TestClock clock_;
  FakeToken token_;
  Metrics metrics_;
  std::unique_ptr<ResourceStore> store_;
  std::unique_ptr<AuditLog> audit_;
  std::unique_ptr<Broker> broker_;
  Requester me_;
  std::string token_text_;
};

TEST_F(BrokerTest, ReleasesASecretToWhoeverProves) {
  const Session session = attested();
  const HttpResponse response = fetch(session);
  ASSERT_EQ(response.status, 200u) << response.body;
  EXPECT_EQ(me_.open(response.body), "alice's disk");
  EXPECT_EQ(Requester().open(response.body), "") << "it opens for another key";
  EXPECT_EQ(response.body.find("alice's"), std::string::npos);
}

TEST_F(BrokerTest, TheAttestationTokenServesLikeTheCookie) {
  attested();
  const HttpResponse response =
      get(at("alice", std::string("resource/") + kDisk), "", "Bearer " + token_text_);
  ASSERT_EQ(response.status, 200u) << response.body;
  EXPECT_EQ(me_.open(response.body), "alice's disk");
  EXPECT_EQ(get(at("bob", std::string("resource/") + kDisk), "", "Bearer " + token_text_).status,
            401u);
  EXPECT_EQ(get(at("alice", std::string("resource/") + kDisk), "", "Basic abc").status, 401u);
  clock_.elapsed += std::chrono::seconds(301);
  EXPECT_EQ(get(at("alice", std::string("resource/") + kDisk), "", "Bearer " + token_text_).status,
            401u);
}

TEST_F(BrokerTest, WithoutAttestationThereIsNothing) {
  EXPECT_EQ(get(at("alice", std::string("resource/") + kDisk), "").status, 401u);
  const Session session = begin();
  const HttpResponse response = fetch(session);
  EXPECT_EQ(response.status, 401u);
  EXPECT_NE(response.body.find("not attested"), std::string::npos) << response.body;
}

TEST_F(BrokerTest, EvidenceThatIsNotBelievedOpensNothing) {
  const Session session = begin();
  const Json evidence = {{"binding", "AAAA"}, {"grants", {kDisk}}};
  const HttpResponse response =
      post(at("alice", "attest"), me_.attest_body(session.challenge, evidence), session.cookie);
  EXPECT_EQ(response.status, 401u);
  EXPECT_EQ(Json::parse(response.body).at("reasons").at(0).at("check"), "nonce") << response.body;
  EXPECT_EQ(fetch(session).status, 401u);
  EXPECT_NE(audit_text().find(R"("outcome":"refused")"), std::string::npos);
}

TEST_F(BrokerTest, EvidenceNobodyCanReadIsRefused) {
  const Session session = begin();
  const HttpResponse response = post(
      at("alice", "attest"), me_.attest_body(session.challenge, {{"odd", true}}), session.cookie);
  EXPECT_EQ(response.status, 401u);
  EXPECT_NE(response.body.find("cannot be read"), std::string::npos) << response.body;
}

TEST_F(BrokerTest, ANonceIsGoodForOneAttempt) {
  const Session session = begin();
  const std::string body =
      me_.attest_body(session.challenge, me_.evidence(session.challenge, {kDisk}));
  EXPECT_EQ(post(at("alice", "attest"), body, session.cookie).status, 200u);
  EXPECT_EQ(post(at("alice", "attest"), body, session.cookie).status, 401u) << "replayed";
  const Session other = begin();
  EXPECT_EQ(post(at("alice", "attest"), body, other.cookie).status, 401u) << "in another session";
}

TEST_F(BrokerTest, ASubstitutedKeyIsNoticed) {
  const Session session = begin();
  const Json evidence = me_.evidence(session.challenge, {kDisk});
  const Requester thief;
  EXPECT_EQ(
      post(at("alice", "attest"), thief.attest_body(session.challenge, evidence), session.cookie)
          .status,
      401u);
}

TEST_F(BrokerTest, EachSecretIsJudgedAnew) {
  put("alice", kOther, "another");
  const Session session = attested({kDisk});
  EXPECT_EQ(fetch(session).status, 200u);
  const HttpResponse response = fetch(session, "alice", kOther);
  EXPECT_EQ(response.status, 403u);
  EXPECT_EQ(Json::parse(response.body).at("reasons").at(0).at("check"), "secret");
  // The same request with evidence for it.
  EXPECT_EQ(fetch(attested({kOther}), "alice", kOther).status, 200u);
}

TEST_F(BrokerTest, WhatIsNotThereIsToldOnlyToWhoMayHaveIt) {
  EXPECT_EQ(fetch(attested({kOther}), "alice", kOther).status, 404u);
  EXPECT_EQ(fetch(attested({kDisk}), "alice", kOther).status, 403u);
}

TEST_F(BrokerTest, TenantsAreApart) {
  const Session session = attested();
  EXPECT_EQ(fetch(session, "bob").status, 401u) << "alice's session at bob's";
  const Session bobs = attested({kDisk}, "bob");
  EXPECT_EQ(me_.open(fetch(bobs, "bob").body), "bob's disk");
  EXPECT_EQ(fetch(bobs, "carol").status, 404u);
  EXPECT_EQ(post("/kbs/v0/auth", Requester::auth_body()).status, 404u) << "which of the two?";
}

TEST_F(BrokerTest, SessionsEnd) {
  const Session late = begin();
  clock_.elapsed += std::chrono::seconds(119);
  EXPECT_EQ(attest(late, {kDisk}).status, 200u);
  const Session later = begin();
  clock_.elapsed += std::chrono::seconds(120);
  EXPECT_EQ(attest(later, {kDisk}).status, 401u);
  const Session session = attested();
  clock_.elapsed += std::chrono::seconds(299);
  EXPECT_EQ(fetch(session).status, 200u);
  clock_.elapsed += std::chrono::seconds(1);
  EXPECT_EQ(fetch(session).status, 401u);
}

TEST_F(BrokerTest, ARestartedBrokerKnowsNoSessionAndSaysSo) {
  const Session session = attested();
  restart();
  const HttpResponse response = fetch(session);
  EXPECT_EQ(response.status, 401u);
  EXPECT_NE(response.body.find("restarted"), std::string::npos) << response.body;
  EXPECT_EQ(get(at("alice", std::string("resource/") + kDisk), "", "Bearer " + token_text_).status,
            401u);
}

TEST_F(BrokerTest, SessionsAreBoundedAndMakeRoom) {
  for (int i = 0; i < 8; ++i) begin();
  const HttpResponse response = post(at("alice", "auth"), Requester::auth_body());
  EXPECT_EQ(response.status, 503u);
  EXPECT_NE(response.body.find("too many sessions"), std::string::npos);
  begin("bob");  // not bob's fault
  clock_.elapsed += std::chrono::seconds(120);
  begin();
}

TEST_F(BrokerTest, AttemptsThatFailedLeaveRoom) {
  for (int i = 0; i < 20; ++i) {
    const Session session = begin();
    EXPECT_EQ(attest(session, Json::array()).status, 401u);
  }
  attested();
}

TEST_F(BrokerTest, WithoutTheTokenNothingIsGranted) {
  const Session session = attested();
  const Session waiting = begin();
  token_.away = true;
  const HttpResponse refused = fetch(session);
  EXPECT_EQ(refused.status, 503u);
  EXPECT_NE(refused.body.find("token"), std::string::npos);
  EXPECT_EQ(attest(waiting, {kDisk}).status, 503u);
  token_.away = false;
  EXPECT_EQ(fetch(session).status, 200u);
  EXPECT_EQ(fetch(waiting).status, 401u) << "an attempt that failed has attested nothing";
}

// The same request is granted while the log takes entries, and refused when it does not.
TEST_F(BrokerTest, WithoutTheLogNothingIsGranted) {
  const Session session = attested();
  EXPECT_EQ(fetch(session).status, 200u);
  std::filesystem::resize_file(dir_ / "audit", 10);
  const HttpResponse refused = fetch(session);
  EXPECT_EQ(refused.status, 503u);
  EXPECT_EQ(me_.jwk().empty(), false);
  EXPECT_EQ(refused.body.find("ciphertext"), std::string::npos);
  EXPECT_EQ(post(at("alice", "auth"), Requester::auth_body()).status, 503u);
}

TEST_F(BrokerTest, ResourcesThatWereExchangedInTheStoreDoNotOpen) {
  put("alice", kOther, "another");
  const Session session = attested({kDisk, kOther});
  EXPECT_EQ(fetch(session).status, 200u);
  ASSERT_EQ(shell("sqlite3 '" + (dir_ / "store") +
                  "' \"UPDATE resource SET name = 'default/was/disk' WHERE tenant = 'alice' AND "
                  "name = 'default/disk/key'; UPDATE resource SET name = 'default/disk/key' WHERE "
                  "name = 'default/other/key'\"")
                .status,
            0);
  const HttpResponse response = fetch(session);
  EXPECT_EQ(response.status, 503u) << response.body;
  EXPECT_NE(response.body.find("was changed"), std::string::npos) << response.body;
}

TEST_F(BrokerTest, RatesAreLimitedPerPeerAndPerTenant) {
  restart({1, 3}, {1000, 1000});
  for (int i = 0; i < 3; ++i) begin();
  EXPECT_EQ(post(at("alice", "auth"), Requester::auth_body()).status, 429u);
  EXPECT_EQ(post(at("bob", "auth"), Requester::auth_body()).status, 429u) << "the same peer";
  clock_.elapsed += std::chrono::seconds(1);
  begin();
  restart({1000, 1000}, {1, 3});
  for (int i = 0; i < 3; ++i) begin();
  EXPECT_EQ(post(at("alice", "auth"), Requester::auth_body()).status, 429u);
  begin("bob");
}

TEST_F(BrokerTest, WhatIsNotTheProtocolIsRefused) {
  EXPECT_EQ(post("/", "").status, 404u);
  EXPECT_EQ(post(at("alice", "auth") + "?x=1", Requester::auth_body()).status, 404u);
  EXPECT_EQ(post(at("alice", "resource/a/b/c"), "secret").status, 405u);
  EXPECT_EQ(get(at("alice", "auth"), "").status, 405u);
  EXPECT_EQ(get(at("alice", "resource/a/../c"), "").status, 404u);
  EXPECT_EQ(get(at("alice", "resource/a%2fb/c/d"), "").status, 404u);
  EXPECT_EQ(post(at("alice", "auth"), "{}").status, 401u);
  EXPECT_EQ(post(at("alice", "auth"), R"({"version":"9.0.0","tee":"tpm"})").status, 401u);
  EXPECT_EQ(post(at("alice", "auth"), R"({"version":"0.4.0","tee":"sgx"})").status, 401u);
  EXPECT_EQ(post(at("alice", "auth"), "[").status, 400u);
  EXPECT_EQ(post(at("alice", "attest"), "{}").status, 401u);
  EXPECT_EQ(post(at("alice", "attest"), "{}", begin().cookie).status, 400u);
}

TEST_F(BrokerTest, EveryDecisionIsInTheLog) {
  const Session session = attested();
  fetch(session);
  fetch(session, "alice", kOther);
  const std::string text = audit_text();
  for (const char* wanted :
       {R"("event":"challenge")", R"("event":"attest")", R"("reason":"secret")",
        R"("secret":"default/disk/key")", R"("peer":"192.0.2.1")"}) {
    EXPECT_NE(text.find(wanted), std::string::npos) << wanted;
  }
  EXPECT_EQ(text.find(session.cookie.substr(session.cookie.find('=') + 1)), std::string::npos)
      << "the log would give sessions away";
  AuditFault fault;
  const auto head = verify_audit(dir_ / "audit", std::nullopt, fault);
  ASSERT_TRUE(head) << fault.what;
  EXPECT_EQ(head->sequence, 4u);
  broker_->measure();
  const std::string metrics = metrics_.text();
  EXPECT_NE(
      metrics.find("bulkhead_broker_decisions_total{tenant=\"alice\",kind=\"release\",outcome="
                   "\"granted\"} 1\n"),
      std::string::npos)
      << metrics;
  EXPECT_NE(metrics.find("bulkhead_broker_audit_entries 4\n"), std::string::npos) << metrics;
}

TEST_F(BrokerTest, BothFormsOfEvidenceAreUnderstood) {
  const Session session = begin();
  Json body =
      Json::parse(me_.attest_body(session.challenge, me_.evidence(session.challenge, {kDisk})));
  const Json plain = body["tee-evidence"]["primary_evidence"];
  body["tee-evidence"] = plain;
  EXPECT_EQ(post(at("alice", "attest"), body.dump(), session.cookie).status, 200u);
  const Session other = begin();
  body = Json::parse(me_.attest_body(other.challenge, me_.evidence(other.challenge, {kDisk})));
  body["tee-evidence"]["additional_evidence"] = "{\"gpu\":1}";
  EXPECT_EQ(post(at("alice", "attest"), body.dump(), other.cookie).status, 400u);
}

}  // namespace
}  // namespace bulkhead::broker
