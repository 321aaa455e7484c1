// SPDX-License-Identifier: Apache-2.0
// The program as its users see it: its commands, and stock curl and openssl as clients.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <regex>

#include "base/base64.h"
#include "base/fd.h"
#include "broker/config.h"
#include "broker/testing/requester.h"
#include "broker/testing/site.h"

namespace bulkhead::broker {
namespace {

// `serve` in a process of its own, until the end of the test.
class Serving {
 public:
  explicit Serving(const Site& site) {
    int ends[2];
    CHECK(::pipe2(ends, O_CLOEXEC) == 0);
    output_ = Fd(ends[0]);
    const Fd theirs(ends[1]);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, theirs.get(), STDOUT_FILENO);
    std::string words[] = {BULKHEAD_TEST_BROKER, "--config", site.config(), "serve"};
    char* arguments[] = {words[0].data(), words[1].data(), words[2].data(), words[3].data(),
                         nullptr};
    CHECK(::posix_spawn(&id_, arguments[0], &actions, nullptr, arguments, environ) == 0);
    ::posix_spawn_file_actions_destroy(&actions);
  }
  ~Serving() { stop(SIGKILL); }
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;

  // Reads the line that says so, and takes the ports from it.
  bool ready() {
    std::string line;
    for (char c = 0; ::read(output_.get(), &c, 1) == 1 && c != '\n';) line += c;
    std::smatch match;
    if (!std::regex_search(line, match, std::regex("ready at .* port (\\d+).*port (\\d+)")))
      return false;
    port_ = match[1];
    metrics_port_ = match[2];
    return true;
  }
  // The exit status; -1 if a signal ended it.
  int stop(int signal) {
    if (id_ == 0) return -1;
    ::kill(std::exchange(id_, 0), signal);
    int status = 0;
    ::wait(&status);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  int id() const { return id_; }
  const std::string& port() const { return port_; }
  const std::string& metrics_port() const { return metrics_port_; }

 private:
  int id_ = 0;
  Fd output_;
  std::string port_;
  std::string metrics_port_;
};

class AppTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!Site::possible()) GTEST_SKIP() << "no softhsm2-util";
    site_ = std::make_unique<Site>();
  }
  std::string curl(const Serving& serving, const std::string& words, const std::string& path) {
    const ShellResult result =
        shell("curl -sS --cacert '" + (*site_ / "cert.pem") + "' -b '" + (*site_ / "jar") +
              "' -c '" + (*site_ / "jar") + "' " + words + " https://127.0.0.1:" + serving.port() +
              "/tenant/alice/kbs/v0/" + path + " 2>&1");
    return result.out;
  }

  std::unique_ptr<Site> site_;
};

TEST_F(AppTest, StockCurlGetsASecret) {
  if (!have("curl")) GTEST_SKIP() << "no curl";
  site_->prepare();
  Serving serving(*site_);
  ASSERT_TRUE(serving.ready());
  site_->write("request", Requester::auth_body());
  const std::string data = "--data-binary @'" + (*site_ / "request") + "'";
  const std::string challenge = curl(serving, data, "auth");
  const Requester me;
  site_->write("request", me.attest_body(challenge, me.evidence(challenge, {"default/disk/key"})));
  const std::string attested = curl(serving, data, "attest");
  ASSERT_NE(attested.find("token"), std::string::npos) << attested;
  EXPECT_EQ(me.open(curl(serving, "", "resource/default/disk/key")), "alice's disk");
  EXPECT_NE(curl(serving, "", "resource/default/other/key").find("urn:bulkhead:broker:policy"),
            std::string::npos);

  const std::string metrics =
      shell("curl -sS http://127.0.0.1:" + serving.metrics_port() + "/metrics").out;
  for (const char* line : {"bulkhead_broker_token_up 1\n", "bulkhead_broker_token_starts_total 1\n",
                           "# TYPE bulkhead_broker_requests_total counter\n",
                           "bulkhead_broker_sessions{tenant=\"alice\"} 1\n"}) {
    EXPECT_NE(metrics.find(line), std::string::npos) << line << metrics;
  }
  EXPECT_EQ(serving.stop(SIGTERM), 0);
}

// The token that attest answers with, verified by the stock tool with the key of the tenant.
TEST_F(AppTest, StockJoseVerifiesTheAttestationToken) {
  if (!have("curl") || !have("jose")) GTEST_SKIP() << "no curl, or no jose";
  site_->prepare();
  Serving serving(*site_);
  ASSERT_TRUE(serving.ready());
  site_->write("request", Requester::auth_body());
  const std::string data = "--data-binary @'" + (*site_ / "request") + "'";
  const std::string challenge = curl(serving, data, "auth");
  const Requester me;
  site_->write("request", me.attest_body(challenge, me.evidence(challenge, {"default/disk/key"})));
  const std::string token = Json::parse(curl(serving, data, "attest")).at("token");
  const std::size_t dot = token.find('.');
  const auto payload = decode_base64(
      Base64::kUrl, std::string_view(token).substr(dot + 1, token.rfind('.') - dot - 1));
  ASSERT_TRUE(payload);
  site_->write("token", token);
  site_->write("tenant.jwk", Json::parse(text_of(*payload)).at("jwk").dump());
  const std::string verify =
      "jose jws ver -i '" + (*site_ / "token") + "' -k '" + (*site_ / "tenant.jwk") + "' 2>&1";
  EXPECT_EQ(shell(verify).status, 0);
  std::string changed = token;
  changed[dot + 5] = changed[dot + 5] == 'A' ? 'B' : 'A';
  site_->write("token", changed);
  EXPECT_NE(shell(verify).status, 0);
}

TEST_F(AppTest, OnlyTls13IsSpoken) {
  site_->prepare();
  Serving serving(*site_);
  ASSERT_TRUE(serving.ready());
  const auto connect = [&](const std::string& version) {
    return shell("openssl s_client -connect 127.0.0.1:" + serving.port() + " " + version +
                 " </dev/null 2>&1 | grep -c 'Cipher is TLS_'")
        .status;
  };
  EXPECT_EQ(connect("-tls1_3"), 0);
  EXPECT_NE(connect("-tls1_2"), 0);
}

// The PIN's reader and the token's library are where no request is parsed.
TEST_F(AppTest, TheTokenIsInAProcessOfItsOwn) {
  site_->prepare();
  Serving serving(*site_);
  ASSERT_TRUE(serving.ready());
  const std::string id = std::to_string(serving.id());
  const auto has_library = [](const std::string& process) {
    return shell("grep -q libsofthsm2 /proc/" + process + "/maps 2>/dev/null").status == 0;
  };
  if (!std::filesystem::exists("/proc/" + id + "/maps") || ::geteuid() != 0) {
    GTEST_SKIP() << "only root sees into undumpable processes";
  }
  const std::string child = shell("cat /proc/" + id + "/task/*/children").out;
  ASSERT_FALSE(child.empty());
  EXPECT_TRUE(has_library(child.substr(0, child.find(' '))));
  EXPECT_FALSE(has_library(id));
}

TEST_F(AppTest, ResourcesComeAndGoAndAreSealed) {
  site_->prepare();
  site_->write("secret", "the newer key");
  EXPECT_EQ(site_->run("resource add alice default/disk/key '" + (*site_ / "secret") + "'").status,
            0);
  EXPECT_EQ(
      site_->run("resource add alice default/more/key - <'" + (*site_ / "secret") + "'").status, 0);
  const std::string list = site_->run("resource list").out;
  EXPECT_NE(list.find("alice default/disk/key version 3\n"), std::string::npos) << list;
  EXPECT_NE(list.find("bob default/disk/key version 2\n"), std::string::npos) << list;
  EXPECT_EQ(site_->run("resource list bob").out, "bob default/disk/key version 2\n");
  EXPECT_NE(shell("grep -rl 'the newer key' '" + (*site_ / "state") + "'").status, 0);
  EXPECT_EQ(site_->run("resource remove alice default/more/key").status, 0);
  EXPECT_EQ(site_->run("resource remove alice default/more/key").status, 1);
  EXPECT_EQ(site_->run("audit").status, 0);
}

TEST_F(AppTest, AuditTellsAChangedLog) {
  site_->prepare();
  const std::string head = site_->run("audit").out;
  EXPECT_EQ(head.substr(0, 2), "2:") << head;
  EXPECT_EQ(site_->run("audit --expect " + head.substr(0, head.size() - 1)).status, 0);
  ASSERT_EQ(shell("sed -i s/alice/carol/ '" + (*site_ / "state/audit.log") + "'").status, 0);
  const ShellResult changed = site_->run("audit");
  EXPECT_EQ(changed.status, 1);
  EXPECT_NE(changed.out.find("line 1"), std::string::npos) << changed.out;
  Serving serving(*site_);
  EXPECT_FALSE(serving.ready()) << "it serves with a log that was changed";
}

TEST_F(AppTest, WrongUsageSaysWhatToDo) {
  EXPECT_EQ(site_->run("resource add carol a/b/c /dev/null").status, 2);
  EXPECT_EQ(site_->run("resource add alice a/b /dev/null").status, 2);
  EXPECT_EQ(site_->run("resource add alice a/b/c /dev/null").status, 2);
  EXPECT_EQ(site_->run("frobnicate").status, 2);
  EXPECT_EQ(site_->run("audit --expect 1").status, 2);
  const ShellResult without_init = site_->run("serve");
  EXPECT_EQ(without_init.status, 1);
  EXPECT_EQ(site_->run("--help", BULKHEAD_BROKER).status, 0);
  site_->write("broker.toml", "version = 1\nlisten = \"127.0.0.1:1\"\n\nlimit = 1\n");
  const ShellResult unknown = site_->run("serve");
  EXPECT_EQ(unknown.status, 2);
  EXPECT_NE(unknown.out.find("line 4: unknown key 'limit'"), std::string::npos) << unknown.out;
}

TEST_F(AppTest, AKeyThatOthersCanReadIsRefused) {
  site_->prepare();
  ASSERT_EQ(shell("chmod 644 '" + (*site_ / "key.pem") + "'").status, 0);
  const ShellResult result = site_->run("serve");
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.out.find("chmod 600"), std::string::npos) << result.out;
}

}  // namespace
}  // namespace bulkhead::broker
