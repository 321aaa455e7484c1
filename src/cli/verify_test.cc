// SPDX-License-Identifier: Apache-2.0
// `bulkhead verify` as it is used: files in, lines and an exit status out.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "attest/evidence_case_for_test.h"
#include "attest/json/evidence_json.h"
#include "base/base64.h"
#include "cli/testing/program.h"

namespace bulkhead::cli {
namespace {

using testing::Outcome;

class Verify : public testing::ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    std::filesystem::create_directory(path("roots"));
    write_file("roots/root.pem", case_.root->pem());
    write_file("policy.toml", policy_text());
    write_evidence_file();
  }

  void write_evidence_file() { write_file("evidence.json", write_evidence(case_.evidence())); }

  std::string policy_text() const {
    std::string text =
        "version = 1\nisolation = \"carved\"\nreferences = [\"image\"]\nhosts = [\"" +
        to_hex(case_.host.fingerprint) + "\"]\n[reference.image.sha256]\n";
    for (const auto& [pcr, value] : case_.policy.references.at("image").all()) {
      text += std::to_string(pcr.index) + " = \"" + to_hex(value) + "\"\n";
    }
    return text;
  }

  Outcome verify(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"verify",
                                          "--evidence",
                                          path("evidence.json"),
                                          "--policy",
                                          path("policy.toml"),
                                          "--trust",
                                          path("roots"),
                                          "--time",
                                          to_string(case_.now)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return bulkhead(arguments);
  }
  std::vector<std::string> with_nonce() const {
    return {"--nonce", encode_base64(Base64::kUrl, case_.challenge.nonce)};
  }

  EvidenceCase case_;
};

bool says(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST_F(Verify, Accepts) {
  const Outcome outcome = verify(with_nonce());
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_TRUE(says(outcome.out, "\nACCEPTED\n")) << outcome.out;
  for (const char* part : {"passed signature", "passed certificate-chain", "isolation       carved",
                           "command line    console=hvc0 quiet", "7 resets",
                           "host            TPM 33", "made for key    IiIi"}) {
    EXPECT_TRUE(says(outcome.out, part)) << part << "\n" << outcome.out;
  }
}

TEST_F(Verify, RefusesWithTheReason) {
  const Outcome stale = verify({"--nonce", "AAAAAAAAAAAAAAAA"});
  EXPECT_EQ(stale.status, 1);
  EXPECT_TRUE(says(stale.out, "\nREFUSED: nonce: ")) << stale.out;
  case_.facts.command_line = "init=/bin/sh";
  write_evidence_file();
  const Outcome changed = verify(with_nonce());
  EXPECT_EQ(changed.status, 1);
  EXPECT_TRUE(says(changed.out, "\nREFUSED: measurement: ")) << changed.out;
  EXPECT_TRUE(says(changed.out, "sha256:8 = ")) << changed.out;
}

TEST_F(Verify, SaysThatItMayBeAReplay) {
  const Outcome outcome = verify();
  EXPECT_EQ(outcome.status, 0);
  EXPECT_TRUE(says(outcome.out, "ACCEPTED, but")) << outcome.out;
  EXPECT_FALSE(says(outcome.out, "made for key"));
}

TEST_F(Verify, JudgesTheAge) {
  auto arguments = with_nonce();
  arguments.insert(arguments.end(), {"--nonce-time", "2026-11-22T13:55:00Z"});
  EXPECT_EQ(verify(arguments).status, 0);
  arguments.back() = "2026-11-22T13:54:59Z";
  const Outcome old = verify(arguments);
  EXPECT_EQ(old.status, 1);
  EXPECT_TRUE(says(old.out, "REFUSED: freshness: ")) << old.out;
}

TEST_F(Verify, TrustsNobodyByItself) {
  const Outcome outcome =
      bulkhead({"verify", "--evidence", path("evidence.json"), "--policy", path("policy.toml")});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_TRUE(says(outcome.out, "FAILED certificate-chain")) << outcome.out;
  EXPECT_TRUE(says(outcome.err, "--trust DIR")) << outcome.err;
}

TEST_F(Verify, SpeaksJson) {
  auto arguments = with_nonce();
  arguments.push_back("--json");
  const auto good = nlohmann::json::parse(verify(arguments).out);
  EXPECT_EQ(good["accepted"], true);
  EXPECT_EQ(good["partition"]["host"]["fingerprint"], to_hex(case_.host.fingerprint));
  write_file("evidence.json", "{}");
  const Outcome none = verify(arguments);
  EXPECT_EQ(none.status, 1);
  EXPECT_EQ(nlohmann::json::parse(none.out)["reason"], "evidence");
  EXPECT_TRUE(says(none.err, "lacks 'eat_profile'")) << none.err;
}

TEST_F(Verify, SignsItsResult) {
  ASSERT_EQ(std::system(("openssl ecparam -name prime256v1 -genkey -noout -out " + path("key.pem") +
                         " 2>/dev/null && chmod 600 " + path("key.pem"))
                            .c_str()),
            0);
  auto arguments = with_nonce();
  arguments.insert(arguments.end(), {"--ear", path("ear.jwt"), "--ear-key", path("key.pem")});
  EXPECT_EQ(verify(arguments).status, 0);
  std::ifstream file(path("ear.jwt"));
  const std::string token{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(std::count(token.begin(), token.end(), '.'), 2);
  EXPECT_TRUE(token.starts_with("eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.")) << token;
  ::chmod(path("key.pem").c_str(), 0644);
  const Outcome open = verify(arguments);
  EXPECT_EQ(open.status, 3);
  EXPECT_TRUE(says(open.err, "chmod 600")) << open.err;
}

TEST_F(Verify, TellsUsageFromWhatItCannotSee) {
  const auto status = [this](const std::vector<std::string>& more) { return verify(more).status; };
  EXPECT_EQ(status({"--nonce", "no nonce"}), 2);
  EXPECT_EQ(status({"--nonce-time", "2026-11-22T13:55:00Z"}), 2);
  EXPECT_EQ(status({"--ear", path("ear.jwt")}), 2);
  EXPECT_EQ(bulkhead({"verify"}).status, 2);
  EXPECT_EQ(bulkhead({"verify", "--evidence", "x", "--policy", "y", "--time", "now"}).status, 2);
  write_file("policy.toml", "version = 1\nhots = 1\n");
  const Outcome wrong = verify();
  EXPECT_EQ(wrong.status, 2);
  EXPECT_TRUE(says(wrong.err, "line 2: unknown key 'hots'")) << wrong.err;
  write_file("policy.toml", policy_text());
  write_file("roots/second.pem", "no root");
  const Outcome damaged = verify();
  EXPECT_EQ(damaged.status, 3);
  EXPECT_TRUE(says(damaged.err, "second.pem': no certificate in PEM form")) << damaged.err;
  std::filesystem::remove_all(path("roots"));
  EXPECT_EQ(verify().status, 3);
  EXPECT_EQ(
      bulkhead({"verify", "--evidence", path("none"), "--policy", path("policy.toml")}).status, 3);
}

}  // namespace
}  // namespace bulkhead::cli
