// SPDX-License-Identifier: Apache-2.0
#include "cli/host_command.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "cli/error.h"
#include "seal/temp_dir_for_test.h"

namespace bulkhead::cli {
namespace {

class HostCommand : public ::testing::Test {
 protected:
  HostOptions options(const std::string& action) const {
    HostOptions options;
    options.action = action;
    options.state = dir_ / "host";
    options.name = "a-host";
    return options;
  }
  static std::string refusal(const HostOptions& options) {
    try {
      host_command(options);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "accepted";
  }
  static std::string output(const HostOptions& options) {
    ::testing::internal::CaptureStdout();
    EXPECT_EQ(host_command(options), kExitOk);
    return ::testing::internal::GetCapturedStdout();
  }
  std::string file(const char* name, std::string_view text) const {
    std::ofstream(dir_ / name) << text;
    return dir_ / name;
  }

  TempDir dir_;
};

TEST_F(HostCommand, ASoftwareKeySaysThatItIsOne) {
  HostOptions enrol = options("enrol");
  enrol.software = true;
  EXPECT_NE(output(enrol).find("key in software"), std::string::npos);
  const std::string shown = output(options("show"));
  EXPECT_NE(shown.find("in software: whoever copies it"), std::string::npos) << shown;
  EXPECT_NE(shown.find("CN=a-host"), std::string::npos) << shown;
  HostOptions json = options("show");
  json.json = true;
  EXPECT_NE(output(json).find("\"key\": \"software\""), std::string::npos);
  struct stat status{};
  ASSERT_EQ(::stat((dir_ / "host/software.key").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(HostCommand, MistakesAreNamedWithAWayOut) {
  EXPECT_NE(refusal(options("enrol")).find("one of --request FILE, --grant FILE and --software"),
            std::string::npos);
  HostOptions both = options("enrol");
  both.software = true;
  both.request = "r";
  EXPECT_NE(refusal(both).find("one of --request"), std::string::npos);
  EXPECT_NE(refusal(options("show")).find("No such file or directory"), std::string::npos);
  std::filesystem::create_directory(dir_ / "host");
  EXPECT_EQ(refusal(options("show")),
            "this host is not enrolled; see 'bulkhead host enrol --help'");
  HostOptions no_tpm = options("enrol");
  no_tpm.request = dir_ / "request";
  no_tpm.tpm = "device:/dev/no such TPM";
  EXPECT_EQ(refusal(no_tpm),
            "the host's TPM: cannot reach a TPM 2.0: is there a /dev/tpmrm0, and may you use it?");
}

TEST_F(HostCommand, NoRequestIsTakenForOne) {
  HostOptions certify = options("certify");
  certify.request = dir_ / "none";
  EXPECT_NE(refusal(certify).find("cannot read"), std::string::npos);
  certify.request = file("request", "not one\n");
  EXPECT_EQ(refusal(certify),
            "'" + certify.request + "': the file is not of the kind that is expected, or damaged");
  certify.request = file("long", std::string(300 * 1024, 'x'));
  EXPECT_NE(refusal(certify).find("too long"), std::string::npos);
}

TEST_F(HostCommand, ACounterIsNamedByItsFile) {
  HostOptions counters = options("counters");
  std::string record = "BLKHTPC2" + std::string(104, '\0');
  counters.counter_file = file("file-only", record);
  EXPECT_NE(refusal(counters).find("not counted by a host's TPM"), std::string::npos);
  record.replace(64, 4, std::string("\x05\x00\x81\x01", 4));
  counters.counter_file = file("counted", record);
  EXPECT_EQ(output(counters), "0x01810005\n");
  counters.counter_file = file("second", std::string(4096, 'x') + record);  // the first one is torn
  EXPECT_EQ(output(counters), "0x01810005\n");
  for (const std::size_t length : {0U, 8U, 67U}) {
    counters.counter_file = file("short", record.substr(0, length));
    EXPECT_NE(refusal(counters).find("no counter file"), std::string::npos) << length;
  }
  counters.counter_file.clear();
  for (const char* index : {"zz", "0x", "118100050", "-1"}) {
    counters.remove = index;
    EXPECT_NE(refusal(counters).find("is no index"), std::string::npos) << index;
  }
}

}  // namespace
}  // namespace bulkhead::cli
