// SPDX-License-Identifier: Apache-2.0
// The agent and a broker over real TLS, with a real TPM's evidence; and what lies to it.
#include "agent/protocol/obtain.h"

#include <gtest/gtest.h>
#include <signal.h>

#include "agent/http.h"
#include "agent/protocol/messages.h"
#include "agent/testing/broker_site.h"
#include "agent/testing/lying_server.h"

namespace bulkhead::agent {
namespace {

using broker::HttpRequest;
using broker::HttpResponse;
using Kind = Outcome::Kind;
using std::chrono::seconds;

class ObtainTest : public ::testing::Test {
 protected:
  void SetUp() override { ::signal(SIGPIPE, SIG_IGN); }
  Outcome ask(const Request& request) {
    EvidenceSource source = partition_.source();
    return obtain(request, source, [this](const std::string& what, std::chrono::milliseconds) {
      retries_.push_back(what);
    });
  }
  static std::string text_of(const Outcome& outcome) {
    if (!outcome.secret) return "none: " + outcome.text;
    return std::string(broker::text_of(outcome.secret->bytes()));
  }
  // Asks such a server, which is in every other respect what the request is about.
  Outcome ask_liar(LyingServer::Lies lies, seconds timeout = seconds(1)) {
    const LyingServer server(std::move(lies));
    Outcome outcome = ask({.address = parse_address(server.address()).value(),
                           .server = {.ca_pem = server.ca(), .name = "127.0.0.1"},
                           .tenant = "",
                           .secret = "default/disk/key",
                           .timeout = timeout});
    connections_ = server.connections();
    return outcome;
  }
  static std::string ok(const std::string& body) {
    return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  // Says that an answer is final, and why.
  void expect_final(LyingServer::Lies lies, const char* why, Kind kind = Kind::kNotAsked) {
    const Outcome outcome = ask_liar(std::move(lies), seconds(30));
    EXPECT_EQ(outcome.kind, kind) << why;
    EXPECT_NE(outcome.text.find(why), std::string::npos) << outcome.text;
    EXPECT_EQ(connections_, 1u) << why << ": it was asked again";
  }

  PartitionForTest partition_;
  std::vector<std::string> retries_;
  unsigned connections_ = 0;
};

constexpr const char* kChallenge =
    R"({"nonce": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "extra-params": ""})";

TEST_F(ObtainTest, GetsTheSecretOfAPartitionThatIsAccepted) {
  BrokerSite site(partition_.accepted);
  const Outcome outcome = ask(site.request());
  EXPECT_EQ(outcome.kind, Kind::kReleased) << outcome.text;
  EXPECT_EQ(text_of(outcome), "alice's disk");
  EXPECT_EQ(site.requests, 3u);
  // The only tenant needs no name.
  Request request = site.request();
  request.tenant = "";
  EXPECT_EQ(text_of(ask(request)), "alice's disk");
}

TEST_F(ObtainTest, ARefusalHasItsReasonsAndIsFinal) {
  BrokerSite site(partition_.accepted);
  Request request = site.request();
  request.secret = "default/other/key";
  const Outcome outcome = ask(request);
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_NE(outcome.text.find("403 (policy)"), std::string::npos) << outcome.text;
  ASSERT_FALSE(outcome.reasons.empty());
  EXPECT_NE(outcome.reasons[0].find("secret"), std::string::npos) << outcome.reasons[0];
  EXPECT_EQ(site.requests, 3u);
  EXPECT_TRUE(retries_.empty());
}

TEST_F(ObtainTest, AnotherStartIsRefusedAndTheReasonNamesThePcr) {
  LaunchFacts facts = launch_facts_for_test();
  facts.command_line += " single";
  PartitionForTest other(facts);
  BrokerSite site(other.accepted);
  EvidenceSource source = other.source();
  const Outcome outcome = obtain(site.request(), source, [](const auto&, auto) {});
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_NE(outcome.text.find("401 (evidence)"), std::string::npos) << outcome.text;
  ASSERT_EQ(outcome.reasons.size(), 1u);
  EXPECT_NE(outcome.reasons[0].find("sha256:8"), std::string::npos) << outcome.reasons[0];
}

// Somebody between the partition and the broker forwards the partition's evidence with a key of his
// own. That he is refused is the nonce check's doing, and nothing else's.
TEST_F(ObtainTest, AKeyThatWasPutInPlaceOfTheRequestersIsRefused) {
  for (const bool checked : {true, false}) {
    const auto switches =
        checked ? CheckSwitches{} : CheckSwitchesForTest::without({Check::kNonce});
    BrokerSite site(partition_.accepted, switches);
    const EphemeralKey theirs = EphemeralKey::generate().value();
    bool done = false;
    site.before = [&](const HttpRequest& request) -> std::optional<HttpResponse> {
      if (done || !request.path.ends_with("/attest")) return std::nullopt;
      done = true;
      broker::Json body = broker::Json::parse(request.body);
      body["runtime-data"]["tee-pubkey"] = theirs.jwk();
      HttpRequest changed = request;
      changed.body = body.dump();
      return site.handle(changed);
    };
    const Outcome outcome = ask(site.request());
    if (checked) {
      EXPECT_EQ(outcome.kind, Kind::kRefused);
      EXPECT_NE(outcome.reasons.at(0).find("nonce"), std::string::npos) << outcome.reasons[0];
    } else {
      // The secret was released: to the other key, so that the partition cannot open it.
      EXPECT_EQ(outcome.kind, Kind::kNotAsked);
      EXPECT_NE(outcome.text.find("wrapped by another"), std::string::npos) << outcome.text;
    }
  }
}

TEST_F(ObtainTest, EvidenceOfAnEarlierTimeIsRefused) {
  for (const bool checked : {true, false}) {
    const auto switches =
        checked ? CheckSwitches{} : CheckSwitchesForTest::without({Check::kNonce});
    BrokerSite site(partition_.accepted, switches);
    std::string recorded;
    site.before = [&](const HttpRequest& request) -> std::optional<HttpResponse> {
      if (request.path.ends_with("/attest")) recorded = request.body;
      return std::nullopt;
    };
    ASSERT_EQ(ask(site.request()).kind, Kind::kReleased);
    const std::string old = recorded;
    bool done = false;
    site.before = [&](const HttpRequest& request) -> std::optional<HttpResponse> {
      if (done || !request.path.ends_with("/attest")) return std::nullopt;
      done = true;
      broker::Json body = broker::Json::parse(request.body);
      body["tee-evidence"] = broker::Json::parse(old)["tee-evidence"];
      HttpRequest changed = request;
      changed.body = body.dump();
      return site.handle(changed);
    };
    EXPECT_EQ(ask(site.request()).kind, checked ? Kind::kRefused : Kind::kReleased);
  }
}

TEST_F(ObtainTest, ABusyBrokerIsAskedAgain) {
  BrokerSite site(partition_.accepted);
  unsigned busy = 0;
  site.before = [&](const HttpRequest& request) -> std::optional<HttpResponse> {
    if (++busy == 1) return HttpResponse{.status = 503, .body = "{}"};
    if (busy == 2) return HttpResponse{.status = 429, .body = "too fast"};
    if (busy == 4 && request.path.ends_with("/attest")) {
      return HttpResponse{.status = 401, .body = R"({"type": "urn:bulkhead:broker:session"})"};
    }
    return std::nullopt;
  };
  const Outcome outcome = ask(site.request());
  EXPECT_EQ(outcome.kind, Kind::kReleased) << outcome.text;
  ASSERT_EQ(retries_.size(), 3u);
  EXPECT_NE(retries_[0].find("503"), std::string::npos);
  EXPECT_NE(retries_[1].find("429"), std::string::npos);
  EXPECT_NE(retries_[2].find("session"), std::string::npos);
}

TEST_F(ObtainTest, ABrokerThatComesLateIsFound) {
  BrokerSite site(partition_.accepted);
  const Request request = site.request();
  const std::uint16_t port = site.stop();
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1200));
    site.listen(port);
  });
  const Outcome outcome = ask(request);
  later.join();
  EXPECT_EQ(outcome.kind, Kind::kReleased) << outcome.text;
  ASSERT_FALSE(retries_.empty());
  EXPECT_NE(retries_[0].find("onnection refused"), std::string::npos) << retries_[0];
}

TEST_F(ObtainTest, ABrokerThatNeverComesIsGivenUp) {
  BrokerSite site(partition_.accepted);
  Request request = site.request();
  site.stop();
  request.timeout = seconds(2);
  const auto started = std::chrono::steady_clock::now();
  const Outcome outcome = ask(request);
  EXPECT_LT(std::chrono::steady_clock::now() - started, seconds(10));
  EXPECT_EQ(outcome.kind, Kind::kNotAsked);
  EXPECT_NE(outcome.text.find("no secret within 2 s"), std::string::npos) << outcome.text;
}

// Whose certificate it is decides before anything is sent.
TEST_F(ObtainTest, AnotherServerIsNotAsked) {
  BrokerSite site(partition_.accepted);
  const CertifiedName other("IP:127.0.0.1");
  const auto why = [&](const ServerIdentity& server) {
    Request request = site.request();
    request.server = server;
    const Outcome outcome = ask(request);
    EXPECT_EQ(outcome.kind, Kind::kNotAsked);
    return outcome.text;
  };
  const ServerIdentity right = site.request().server;
  EXPECT_NE(why({.ca_pem = other.certificate(), .name = right.name}).find("--ca"),
            std::string::npos);
  EXPECT_NE(why({.ca_pem = right.ca_pem, .name = "127.0.0.2"}).find("--server-name"),
            std::string::npos);
  // The common name is no name: it says 127.0.0.1, too.
  EXPECT_NE(why({.ca_pem = right.ca_pem, .name = "broker.example"}).find("--server-name"),
            std::string::npos);
  EXPECT_NE(why({.ca_pem = right.ca_pem, .name = ""}).find("--server-name"), std::string::npos);
  EXPECT_NE(why({.ca_pem = "", .name = right.name}).find("PEM"), std::string::npos);
  EXPECT_NE(why({.ca_pem = "none", .name = right.name}).find("PEM"), std::string::npos);
  EXPECT_EQ(site.requests, 0u);
  EXPECT_TRUE(retries_.empty());
  EXPECT_EQ(text_of(ask(site.request())), "alice's disk");
}

TEST_F(ObtainTest, ANameOfDnsIsVerified) {
  const LyingServer server({.name = "DNS:broker.example",
                            .answers = {"HTTP/1.1 404\r\n"
                                        "Content-Length: 0\r\n\r\n"}});
  const auto kind = [&](const std::string& name) {
    return ask({.address = parse_address(server.address()).value(),
                .server = {.ca_pem = server.ca(), .name = name},
                .tenant = "",
                .secret = "a/b/c",
                .timeout = seconds(5)})
        .kind;
  };
  EXPECT_EQ(kind("broker.example"), Kind::kRefused);  // it has spoken
  EXPECT_EQ(kind("other.example"), Kind::kNotAsked);
  EXPECT_EQ(kind("127.0.0.1"), Kind::kNotAsked);
}

TEST_F(ObtainTest, OlderTlsIsNotSpoken) {
  expect_final({.max_version = TLS1_2_VERSION}, "TLS 1.3");
}

TEST_F(ObtainTest, AnswersThatAreNoneAreFinal) {
  expect_final({.answers = {"SSH-2.0-OpenSSH\r\n\r\n"}}, "no HTTP/1.1");
  expect_final({.answers = {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"}},
               "no HTTP/1.1");
  expect_final({.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n"}}, "256 KiB");
  expect_final({.answers = {"HTTP/1.1 200 OK\r\nX: " + std::string(40'000, 'x')}}, "16 KiB");
  expect_final({.answers = {ok(kChallenge) + "HTTP/1.1 200"}}, "more than it was asked for");
  expect_final({.answers = {ok("{}")}}, "no nonce");
  expect_final({.answers = {ok(R"({"nonce": 5})")}}, "no nonce");
  expect_final({.answers = {ok(R"({"nonce": "AAAA"})")}}, "no nonce");
  expect_final({.answers = {"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nOops"}}, "status 500",
               Kind::kRefused);
}

TEST_F(ObtainTest, ASecretThatIsNoneIsFinal) {
  for (const char* secret : {"{}", "plain",
                             R"({"protected": "e30", "encrypted_key": "",)"
                             R"( "iv": "", "ciphertext": "", "tag": ""})"}) {
    const auto answer = [&](const HttpRequest& request) -> std::optional<HttpResponse> {
      if (!request.path.ends_with("/key")) return std::nullopt;
      return HttpResponse{.status = 200, .body = secret};
    };
    BrokerSite site(partition_.accepted);
    site.before = answer;
    const Outcome outcome = ask(site.request());
    EXPECT_EQ(outcome.kind, Kind::kNotAsked);
    EXPECT_FALSE(outcome.secret);
    EXPECT_FALSE(outcome.text.empty());
    EXPECT_EQ(site.requests, 3u);
  }
}

// Half an answer may be what is left of a broker that was restarted.
TEST_F(ObtainTest, HalfAnAnswerIsSaidToBeThat) {
  const Outcome outcome =
      ask_liar({.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"}}, seconds(2));
  EXPECT_EQ(outcome.kind, Kind::kNotAsked);
  EXPECT_NE(outcome.text.find("middle of an answer"), std::string::npos) << outcome.text;
  EXPECT_GE(connections_, 2u);
}

// A byte now and then does not keep the agent beyond its time.
TEST_F(ObtainTest, SlownessAndSilenceEndInTime) {
  const std::string whole = ok(kChallenge);
  for (const bool silent : {true, false}) {
    LyingServer::Lies lies{.answers = {silent ? "" : whole},
                           .between_bytes = std::chrono::milliseconds(silent ? 0 : 300),
                           .stays = true};
    if (silent) lies.answers.clear();
    const auto started = std::chrono::steady_clock::now();
    const Outcome outcome = ask_liar(lies, seconds(2));
    EXPECT_LT(std::chrono::steady_clock::now() - started, seconds(15));
    EXPECT_EQ(outcome.kind, Kind::kNotAsked);
    EXPECT_NE(outcome.text.find("in time"), std::string::npos) << outcome.text;
  }
}

}  // namespace
}  // namespace bulkhead::agent
