// SPDX-License-Identifier: Apache-2.0
// The program as its users see it, with a real TPM and a real broker.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "agent/testing/broker_site.h"
#include "agent/testing/tpm_on_terminal.h"

namespace bulkhead::agent {
namespace {

using broker::shell;
using broker::ShellResult;

class AgentTest : public ::testing::Test {
 protected:
  AgentTest() {
    std::ofstream log(dir_ / "log", std::ios::binary);
    log << broker::text_of(partition_.event_log);
  }
  // The program with these words; its outputs apart.
  int run(const std::string& words, const std::string& around = "") {
    const ShellResult result =
        shell(around + " '" BULKHEAD_AGENT "' " + words + " 2>'" + (dir_ / "err") + "'");
    out_ = result.out;
    err_ = read("err");
    return result.status;
  }
  std::string evidence_words() const {
    return " --tpm " + tpm_.path() + " --event-log '" + (dir_ / "log") + "'";
  }
  std::string broker_words() const {
    return evidence_words() + " --broker " + site_.address() + " --ca '" + site_.ca_file() +
           "' --tenant alice --timeout 10";
  }
  std::string read(const char* name) const {
    std::ifstream file(dir_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // A program of that name, first in PATH.
  void put_program(const char* name, const std::string& script) const {
    const std::string path = dir_ / name;
    std::ofstream(path) << "#!/bin/sh\n" << script;
    CHECK(::chmod(path.c_str(), 0755) == 0);
  }
  std::string with_own_programs() const { return "PATH='" + dir_.path() + ":'$PATH"; }

  broker::TempDir dir_;
  PartitionForTest partition_;
  BrokerSite site_{partition_.accepted};
  TpmOnTerminal tpm_{partition_.tpm()};
  std::string out_;
  std::string err_;
};

TEST_F(AgentTest, WritesTheSecretToStandardOutput) {
  EXPECT_EQ(run("get default/disk/key" + broker_words()), 0) << err_;
  EXPECT_EQ(out_, "alice's disk");
  EXPECT_EQ(err_, "");
}

TEST_F(AgentTest, GivesTheSecretToACommand) {
  EXPECT_EQ(run("get default/disk/key" + broker_words() + " -- tr a-z A-Z"), 0) << err_;
  EXPECT_EQ(out_, "ALICE'S DISK");
  EXPECT_EQ(run("get default/disk/key --fd 5" + broker_words() + " -- sh -c 'cat <&5; echo --x'"),
            0)
      << err_;
  EXPECT_EQ(out_, "alice's disk--x\n");
  EXPECT_EQ(run("get default/disk/key" + broker_words() + " -- false"), 4);
  EXPECT_EQ(err_, "bulkhead-agent: false ended with status 1\n");
  EXPECT_EQ(run("get default/disk/key" + broker_words() + " -- /no/such/program"), 4);
  EXPECT_NE(err_.find("No such file"), std::string::npos) << err_;
}

TEST_F(AgentTest, ARefusalIsToldLineByLine) {
  EXPECT_EQ(run("get default/other/key" + broker_words()), 1);
  EXPECT_EQ(out_, "");
  EXPECT_NE(err_.find("bulkhead-agent: FAILED secret"), std::string::npos) << err_;
  EXPECT_NE(err_.find("403 (policy)"), std::string::npos) << err_;
}

TEST_F(AgentTest, WhatIsMissingIsSaid) {
  EXPECT_EQ(run("get a/b/c --tpm /no/tpm --event-log '" + (dir_ / "log") + "' --broker " +
                site_.address() + " --ca '" + site_.ca_file() + "'"),
            3);
  EXPECT_NE(err_.find("--tpm"), std::string::npos) << err_;
  EXPECT_EQ(run("get a/b/c --tpm " + tpm_.path() + " --event-log /no/log --broker " +
                site_.address() + " --ca '" + site_.ca_file() + "'"),
            3);
  EXPECT_NE(err_.find("securityfs"), std::string::npos) << err_;
  partition_.remove_certificates();
  EXPECT_EQ(run("get a/b/c" + broker_words()), 3);
  EXPECT_NE(err_.find("enrolled"), std::string::npos) << err_;
}

TEST_F(AgentTest, ABrokerThatIsNotThereIsStatus3) {
  const std::string words = broker_words();
  site_.stop();
  EXPECT_EQ(run("get default/disk/key" + words + " --timeout 1"), 2) << "given twice";
  std::string shorter = words;
  shorter.replace(shorter.find("--timeout 10"), 12, "--timeout 1");
  EXPECT_EQ(run("get default/disk/key" + shorter), 3);
  EXPECT_NE(err_.find("; again in "), std::string::npos) << err_;
  EXPECT_NE(err_.find("no secret within 1 s; at last: cannot connect to the broker: Connection "
                      "refused"),
            std::string::npos)
      << err_;
}

TEST_F(AgentTest, WrongUsageIsStatus2) {
  const std::string there = broker_words();
  for (const std::string& words :
       {std::string("frobnicate"), std::string(""), std::string("get default/disk/key"),
        "get default/disk" + there, "get ../disk/key" + there, "get a/b/c --fd 3" + there,
        "get a/b/c --pcrs 24" + there, "get a/b/c --pcrs 1,,2" + there,
        "get a/b/c --pcrs -1" + there, "unlock vda a/b/c x" + there,
        "unlock /dev/vda a/b/c" + there, "unlock /dev/vda a/b/c ../x" + there,
        "unlock /dev/vda a/b/c -x" + there, "get a/b/c --insecure" + there,
        "evidence" + evidence_words(), "evidence --nonce AAAA" + evidence_words(),
        "evidence --nonce hex:00" + evidence_words()}) {
    EXPECT_EQ(run(words), 2) << words;
    EXPECT_EQ(err_.find("bulkhead-agent: "), 0u) << words << err_;
    EXPECT_EQ(std::ranges::count(err_, '\n'), 1) << err_;
  }
  EXPECT_EQ(site_.requests, 0u);
}

TEST_F(AgentTest, EvidenceIsForTheVerifier) {
  ASSERT_EQ(run("evidence --nonce hex:00112233445566778899aabbccddeeff" + evidence_words()), 0)
      << err_;
  std::string error;
  const auto evidence = parse_evidence(out_, error);
  ASSERT_TRUE(evidence) << error;
  const Challenge challenge{.nonce = decode_hex("00112233445566778899aabbccddeeff").value(),
                            .requester_key = {}};
  EXPECT_TRUE(partition_.judge(*evidence, challenge).report.accepted());
}

// Secrets on a screen are everybody's.
TEST_F(AgentTest, NoSecretGoesToATerminal) {
  if (!broker::have("script")) GTEST_SKIP() << "no script(1)";
  const std::string command = "'" BULKHEAD_AGENT "' get default/disk/key" + broker_words();
  const ShellResult shown =
      shell("script --quiet --return --command \"" + command + "\" /dev/null </dev/null");
  EXPECT_EQ(shown.status, 2);
  EXPECT_EQ(shown.out.find("alice's disk"), std::string::npos) << shown.out;
  EXPECT_EQ(site_.requests, 0u);
}

// Neither a core file nor a debugger of the same user gets at what the agent holds.
TEST_F(AgentTest, ItsMemoryIsItsOwn) {
  put_program("look", "cat >/dev/null; ulimit -c; stat -c %u /proc/$PPID/maps\n");
  const std::string owner = shell("stat -c %u /proc/self/maps").out;
  ASSERT_EQ(run("get default/disk/key" + broker_words() + " -- look", with_own_programs()), 0)
      << err_;
  EXPECT_EQ(out_.substr(0, 2), "0\n");
  // The kernel gives the files of an undumpable process to root.
  EXPECT_EQ(out_.substr(2), "0\n") << owner;
}

constexpr const char* kHeader =
    R"({"keyslots": {"0": {"type": "luks2", "area": {"encryption": "CIPHER"},)"
    R"( "kdf": {"type": "argon2id"}}}, "segments": {"0": {"type": "crypt",)"
    R"( "encryption": "aes-xts-plain64"}}, "config": {}})";

// A cryptsetup that tells what it was asked, and what key it got.
std::string cryptsetup_with(const std::string& cipher, const std::string& dir) {
  std::string header = kHeader;
  header.replace(header.find("CIPHER"), 6, cipher);
  return "echo \"$*\" >>'" + dir + "/asked'\n" +
         "case $1 in luksHeaderBackup) : >\"$3\" ;; luksDump) [ -e \"$3\" ] && echo '" + header +
         "' ;; *) cat >'" + dir + "/key' ;; esac\n";
}

TEST_F(AgentTest, UnlockGivesTheKeyToCryptsetup) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root writes to /run, and opens disks";
  put_program("cryptsetup", cryptsetup_with("aes-xts-plain64", dir_.path()));
  ASSERT_EQ(run("unlock /dev/vdz default/disk/key data" + broker_words(), with_own_programs()), 0)
      << err_;
  EXPECT_EQ(read("key"), "alice's disk");
  const std::string asked = read("asked");
  EXPECT_NE(asked.find("--key-file=- open /dev/vdz data\n"), std::string::npos) << asked;
  // It opens by the very header that was looked at, of which nothing is left.
  const std::size_t at = asked.find("/run/bulkhead-agent.");
  ASSERT_NE(at, std::string::npos) << asked;
  const std::string copy = asked.substr(at, asked.find(' ', at) - at);
  EXPECT_NE(asked.find("--header " + copy + " "), std::string::npos) << asked;
  EXPECT_FALSE(std::filesystem::exists(copy));
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(copy).parent_path()));
}

TEST_F(AgentTest, UnlockRefusesADiskThatHidesNothingBeforeItAsks) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root writes to /run, and opens disks";
  put_program("cryptsetup", cryptsetup_with("cipher_null-ecb", dir_.path()));
  EXPECT_EQ(run("unlock /dev/vdz default/disk/key data" + broker_words(), with_own_programs()), 4);
  EXPECT_NE(err_.find("aes-xts"), std::string::npos) << err_;
  EXPECT_EQ(site_.requests, 0u);
  EXPECT_EQ(read("asked").find("open"), std::string::npos);
}

// With the stock tool, which opens such a disk: the control.
TEST_F(AgentTest, ADiskWhoseHeaderWasRewrittenIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root writes to /run, and opens disks";
  if (!broker::have("cryptsetup")) GTEST_SKIP() << "no cryptsetup";
  const std::string image = dir_ / "image";
  std::ofstream(dir_ / "key") << "alice's disk";
  ASSERT_EQ(shell("truncate -s 32M '" + image +
                  "' && cryptsetup luksFormat --type luks2 --batch-mode --pbkdf pbkdf2 "
                  "--pbkdf-force-iterations 1000 --key-file '" +
                  (dir_ / "key") + "' '" + image + "'")
                .status,
            0);
  const std::string opens =
      "cryptsetup open --test-passphrase --key-file '" + (dir_ / "key") + "' '" + image + "' 2>&1";
  // Where there is no device mapper cryptsetup fails, but it was given the key.
  const std::string unlock =
      "unlock '" + image + "' default/disk/key bulkhead-test" + broker_words();
  EXPECT_EQ(shell(opens).status, 0);
  run(unlock);
  EXPECT_EQ(site_.requests, 3u) << err_;
  shell("cryptsetup close bulkhead-test 2>&1");
  ASSERT_EQ(
      shell("python3 '" BULKHEAD_SOURCE_DIR "/src/agent/testing/null_cipher.py' '" + image + "'")
          .status,
      0);
  EXPECT_EQ(shell(opens).status, 0);
  EXPECT_EQ(run(unlock), 4);
  EXPECT_NE(err_.find("data of it is not encrypted"), std::string::npos) << err_;
  EXPECT_EQ(site_.requests, 3u);
}

TEST_F(AgentTest, AFailingCryptsetupIsStatus4) {
  put_program("cryptsetup", "exit 1\n");
  EXPECT_EQ(run("unlock /dev/vdz default/disk/key data" + broker_words(), with_own_programs()), 4);
  EXPECT_EQ(site_.requests, 0u);
}

}  // namespace
}  // namespace bulkhead::agent
