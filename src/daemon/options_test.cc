// SPDX-License-Identifier: Apache-2.0
#include "daemon/options.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace bulkhead::daemon {
namespace {

std::string refusal(std::vector<std::string> words) {
  std::string program("bulkheadd");
  std::vector<char*> pointers{program.data()};
  for (std::string& word : words) pointers.push_back(word.data());
  try {
    parse_options(static_cast<int>(pointers.size()), pointers.data());
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(DaemonOptions, Pools) {
  EXPECT_EQ(parse_pool("memfd:8G").size_bytes, 8 * kGiB);
  EXPECT_EQ(parse_pool("hugetlb:512M@1").numa_node, 1U);
  EXPECT_EQ(parse_pool("hugetlb:512M@1").backing, Backing::kHugetlb);
  EXPECT_EQ(parse_pool("carved:64M@0x50000000").carved, "64M@0x50000000");
  EXPECT_EQ(refusal({"--pool", "memfd:64M", "--per-user", "32M"}), "accepted");
  EXPECT_EQ(refusal({"--pool", "memfd:64M", "--certify", "group"}), "accepted");
}

TEST(DaemonOptions, MistakesAreNamedWithAWayOut) {
  EXPECT_EQ(refusal({}), "no --pool; write for example --pool memfd:8G");
  EXPECT_EQ(refusal({"--pool", "disk:1G"}),
            "--pool 'disk:1G': the kind is memfd, hugetlb or carved");
  EXPECT_EQ(refusal({"--pool", "memfd"}), "--pool 'memfd' has no size; write memfd:4G");
  EXPECT_EQ(refusal({"--pool", "memfd:1"}), "--pool '1' is not a size; write 512M or 4G");
  EXPECT_EQ(refusal({"--pool", "memfd:3M"}), "--pool '3M' is not a multiple of 2M");
  EXPECT_EQ(refusal({"--pool", "memfd:99999999T"}),
            "--pool '99999999T' is too large for any machine");
  EXPECT_EQ(refusal({"--pool", "memfd:9T"}), "the pools have more than 8T in all");
  EXPECT_EQ(refusal({"--pool", "memfd:4G@x"}),
            "--pool 'memfd:4G@x': 'x' is no NUMA node; write @0");
  EXPECT_EQ(refusal({"--pool", "carved:4G"}),
            "--pool 'carved:4G' has no address; write carved:2G@0x100000000, as in memmap=");
  EXPECT_EQ(refusal({"--pool", "memfd:4G", "--runtime-dir", "run"}),
            "--runtime-dir 'run' is not an absolute path");
  EXPECT_EQ(refusal({"--pool", "memfd:4G", "--per-user", "0M"}),
            "--per-user '0M' is not a multiple of 2M");
  EXPECT_EQ(refusal({"--pool", "memfd:4G", "--certify", "all"}),
            "--certify 'all' is none of: none, root, group");
  EXPECT_NE(refusal({"--frames", "4"}).find("see 'bulkheadd --help'"), std::string::npos);
  EXPECT_EQ(refusal(std::vector<std::string>(34, "--pool=memfd:2M")),
            "more than 16 --pool options");
}

TEST(DaemonOptions, WithoutTheDefaultGroupOnlyRootMayConnect) {
  const auto group = [](const std::string& chosen, const std::string& existing) {
    DaemonOptions options;
    options.group = chosen;
    return group_of(options, [&](const std::string& name) -> std::optional<gid_t> {
      if (name == existing) return 7;
      return std::nullopt;
    });
  };
  EXPECT_EQ(group("", "kvm"), 7U);
  EXPECT_EQ(group("", "other"), std::nullopt);
  EXPECT_EQ(group("web", "web"), 7U);
  EXPECT_EQ(group("none", "none"), std::nullopt);
  for (const char* missing : {"kvm", "web"}) {
    EXPECT_THROW(group(missing, "other"), UsageError) << "that was asked for";
  }
}

TEST(DaemonOptions, TheManPageNamesEveryOption) {
  std::ifstream file(std::filesystem::path(BULKHEAD_SOURCE_DIR) / "docs/man/bulkheadd.8");
  std::stringstream text;
  text << file.rdbuf();
  std::string page = text.str();
  std::erase(page, '\\');
  for (const char* option :
       {"--pool", "--per-user", "--runtime-dir", "--group", "--help", "--version"}) {
    EXPECT_NE(page.find(option), std::string::npos) << option;
  }
}

}  // namespace
}  // namespace bulkhead::daemon
