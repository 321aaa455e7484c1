// SPDX-License-Identifier: Apache-2.0
// The whole service over TLS, with a SoftHSM token behind it: limits of connections, and load.
#include "broker/service.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "broker/messages.h"
#include "broker/testing/requester.h"
#include "broker/testing/site.h"
#include "broker/testing/tls_client.h"

namespace bulkhead::broker {
namespace {

constexpr const char* kFast =
    "peer-per-second = 1000000\npeer-burst = 1000000\ntenant-per-second = 1000000\n"
    "tenant-burst = 1000000\nsessions = 65536\n";
constexpr const char* kManyConnections = "connections-per-peer = 400\n";
constexpr const char* kAlice = "/tenant/alice/kbs/v0/";

class ServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!Site::possible()) GTEST_SKIP() << "no softhsm2-util";
    ::signal(SIGPIPE, SIG_IGN);
  }
  void start(const std::string& limits) {
    site_ = std::make_unique<Site>(limits);
    site_->prepare();
    config_ = read_config(site_->config());
    service_ = std::make_unique<Service>(Service::Options{
        .config = config_,
        .judges = judges_,
        .token_command = {BULKHEAD_TEST_BROKER, "--config", site_->config(), "token-process"}});
  }

  std::unique_ptr<Site> site_;
  Config config_;
  JudgeFactory judges_ = [](const TenantConfig&) { return std::make_unique<ScriptedJudge>(); };
  std::unique_ptr<Service> service_;
};

// What one requester does, from the beginning, until it has an answer that counts.
class Client {
 public:
  explicit Client(std::uint16_t port) : port_(port) {}

  // The secret, or nothing if it was refused for good.
  std::string obtain(bool honest) {
    while (true) {
      const Answer answer = attempt(honest);
      if (answer.status == 200) return me_.open(answer.body);
      if (answer.status == 401 || answer.status == 403) return {};
      if (answer.status == 0) ++lost_;
      ++retries_;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
  unsigned lost() const { return lost_; }
  unsigned retries() const { return retries_; }

 private:
  Answer attempt(bool honest) {
    TlsClient client(port_);
    const std::string path = kAlice;
    const Answer challenge = client.request("POST " + path + "auth", "", Requester::auth_body());
    if (challenge.status != 200) return challenge;
    const std::string cookie = cookie_header(challenge);
    const Requester& shown = honest ? me_ : other_;
    const std::string body =
        me_.attest_body(challenge.body, shown.evidence(challenge.body, {"default/disk/key"}));
    const Answer attested = client.request("POST " + path + "attest", cookie, body);
    if (honest && attested.status != 200) return attested;
    if (!honest && attested.status >= 500) return attested;
    return client.request("GET " + path + "resource/default/disk/key", cookie);
  }

  std::uint16_t port_;
  Requester me_;
  Requester other_;
  unsigned lost_ = 0;
  unsigned retries_ = 0;
};

struct Tally {
  std::atomic<unsigned> right = 0;
  std::atomic<unsigned> wrong = 0;
  std::atomic<unsigned> refused = 0;
  std::atomic<unsigned> lost = 0;
  std::atomic<unsigned> retries = 0;
};

void work(std::uint16_t port, unsigned attestations, Tally& tally) {
  for (unsigned i = 0; i < attestations; ++i) {
    Client client(port);
    const bool honest = i % 5 != 4;
    const std::string secret = client.obtain(honest);
    if (secret.empty()) {
      ++tally.refused;
    } else if (honest && secret == "alice's disk") {
      ++tally.right;
    } else {
      ++tally.wrong;
    }
    tally.lost += client.lost();
    tally.retries += client.retries();
  }
}

unsigned count(const std::string& text, const std::string& part) {
  unsigned found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

// 1,000 attestations, 50 at once, of which every fifth shows somebody else's evidence; the token's
// process is killed again and again meanwhile.
TEST_F(ServiceTest, UnderLoadNothingIsLostAndNothingWronglyGranted) {
  start(std::string(kFast) + kManyConnections);
  constexpr unsigned kAtOnce = 50;
  constexpr unsigned kEach = 20;
  // A slow machine may be busy with nothing but starting the token otherwise.
  constexpr unsigned kMaxKills = 20;
  Tally tally;
  std::atomic<bool> done = false;
  unsigned kills = 0;
  std::thread killer([&] {
    while (!done && kills < kMaxKills) {
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
      const int id = service_->token().process_id();
      if (id > 0 && ::kill(id, SIGKILL) == 0) ++kills;
    }
  });
  const auto started = std::chrono::steady_clock::now();
  std::vector<std::thread> clients;
  for (unsigned i = 0; i < kAtOnce; ++i) {
    clients.emplace_back([&] { work(service_->port(), kEach, tally); });
  }
  for (std::thread& client : clients) client.join();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - started;
  done = true;
  killer.join();
  std::printf("%u attestations in %.1f s, token killed %u times, %u retries\n", kAtOnce * kEach,
              elapsed.count(), kills, tally.retries.load());
  EXPECT_EQ(tally.right, kAtOnce * kEach * 4 / 5);
  EXPECT_EQ(tally.refused, kAtOnce * kEach / 5);
  EXPECT_EQ(tally.wrong, 0u);
  EXPECT_EQ(tally.lost, 0u);
  EXPECT_GE(kills, 3u);
  EXPECT_GE(service_->token().starts(), 3u);

  AuditFault fault;
  ASSERT_TRUE(verify_audit(config_.audit_path(), std::nullopt, fault)) << fault.what;
  std::ifstream file(config_.audit_path());
  const std::string log{std::istreambuf_iterator<char>(file), {}};
  unsigned released = 0;
  for (std::size_t at = 0; at < log.size(); at = log.find('\n', at) + 1) {
    const std::string line = log.substr(at, log.find('\n', at) - at);
    if (count(line, R"("event":"release")") == 1 && count(line, R"("outcome":"granted")") == 1) {
      ++released;
    }
  }
  EXPECT_EQ(released, tally.right);
}

TEST_F(ServiceTest, BodiesAndHeadersAreBounded) {
  start(kFast);
  const std::string path = std::string("POST ") + kAlice;
  const std::string big(kMaxAttestBytes + 1, ' ');
  EXPECT_EQ(TlsClient(service_->port()).request(path + "attest", "", big).status, 413);
  TlsClient client(service_->port());
  ASSERT_TRUE(
      client.send(path + "attest HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"));
  for (int i = 0; i < 20; ++i) {
    if (!client.send("10000\r\n" + std::string(0x10000, ' ') + "\r\n")) break;
  }
  client.send("0\r\n\r\n");
  EXPECT_EQ(client.receive().status, 413);
  const std::string header = "X-Long: " + std::string(20'000, 'x') + "\r\n";
  EXPECT_EQ(TlsClient(service_->port()).request(path + "auth", header, "{}").status, 431);
  EXPECT_EQ(TlsClient(service_->port()).request(path + "auth", "", Requester::auth_body()).status,
            200);
}

// Whether the broker has hung up on a peer that sends a byte every now and then, after so long.
bool is_cut_off(std::uint16_t port, int tenths) {
  TlsClient client(port);
  client.send("GET / HTTP/1.1\r\nX: ");
  for (int i = 0; i < tenths; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    if (!client.send("x")) return true;
  }
  return client.receive().status == 0 && !client.send("x");
}

TEST_F(ServiceTest, ATrickleOfBytesEnds) {
  start(std::string(kFast) + "connection-s = 1\n");
  EXPECT_TRUE(is_cut_off(service_->port(), 30));
}

// The same peer is not cut off in that time where connections may live longer.
TEST_F(ServiceTest, ATrickleOfBytesGoesOnWithoutThatLimit) {
  start(std::string(kFast) + "connection-s = 60\n");
  TlsClient client(service_->port());
  ASSERT_TRUE(client.send("GET / HTTP/1.1\r\nHost: x\r\nX: "));
  for (int i = 0; i < 30; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    ASSERT_TRUE(client.send("x")) << i;
  }
  ASSERT_TRUE(client.send("\r\n\r\n"));
  EXPECT_EQ(client.receive().status, 404);
}

TEST_F(ServiceTest, APeerHasSoManyConnections) {
  start(std::string(kFast) + "connections-per-peer = 4\n");
  std::vector<std::unique_ptr<TlsClient>> held;
  for (int i = 0; i < 4; ++i) held.push_back(std::make_unique<TlsClient>(service_->port()));
  for (const auto& each : held) EXPECT_TRUE(each->connected());
  EXPECT_FALSE(TlsClient(service_->port()).connected());
  held.clear();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_TRUE(TlsClient(service_->port()).connected());
}

TEST_F(ServiceTest, StoppingFinishesWhatIsUnderWay) {
  start(kFast);
  TlsClient client(service_->port());
  const std::string body = Requester::auth_body();
  ASSERT_TRUE(client.send(std::string("POST ") + kAlice +
                          "auth HTTP/1.1\r\nHost: x\r\nContent-Length: " +
                          std::to_string(body.size()) + "\r\n\r\n" + body.substr(0, 5)));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  std::thread stopping([this] { service_->stop(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_FALSE(TlsClient(service_->port()).connected()) << "new ones are not taken";
  ASSERT_TRUE(client.send(body.substr(5)));
  EXPECT_EQ(client.receive().status, 200);
  stopping.join();
}

}  // namespace
}  // namespace bulkhead::broker
