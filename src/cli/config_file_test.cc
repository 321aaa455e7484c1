// SPDX-License-Identifier: Apache-2.0
#include "cli/config_file.h"

#include <gtest/gtest.h>

#include "cli/error.h"

namespace bulkhead::cli {
namespace {

std::string message_for(std::string_view text) {
  try {
    parse_config(text, "/etc/web.toml");
  } catch (const UsageError& error) {
    return error.what();
  }
  return "<no error>";
}

TEST(ConfigFile, HasTheNamesOfTheFlags) {
  const RunOptions options = parse_config(R"(
kernel = "/boot/vmlinuz"
disk = ["/img/root.img", "data.img,ro"]   # the second is beside this file
memory = "1G"
cpus = 4
net = "passt"
cmdline = 'quiet "a b"'
no-balloon = true
detach = false
)",
                                          "/etc/web.toml");
  EXPECT_EQ(options.kernel, "/boot/vmlinuz");
  EXPECT_EQ(options.disks, (std::vector<std::string>{"/img/root.img", "/etc/data.img,ro"}));
  EXPECT_EQ(options.memory, "1G");
  EXPECT_EQ(options.cpus, "4");
  EXPECT_EQ(options.nets, std::vector<std::string>{"passt"});
  EXPECT_EQ(options.cmdline, "quiet \"a b\"");
  EXPECT_TRUE(options.no_balloon);
  EXPECT_FALSE(options.detach);
}

// Every option can be written in a file, and none is forgotten in the merge.
TEST(ConfigFile, EveryOptionIsAKey) {
  for (const OptionInfo& option : run_option_table()) {
    const std::string value = option.flag != nullptr ? "true" : "\"/x\"";
    const RunOptions file = parse_config(std::string(option.key) + " = " + value, "f.toml");
    EXPECT_NE(file, RunOptions{}) << option.key;
    EXPECT_EQ(merge(RunOptions{}, file), file) << option.key;
    EXPECT_EQ(merge(file, RunOptions{}), file) << option.key;
  }
}

TEST(ConfigFile, TheCommandLineWins) {
  RunOptions line;
  line.memory = "2G";
  line.disks = {"line.img"};
  const RunOptions file = parse_config("memory=\"1G\"\ncpus=2\ndisk=\"/a\"\nverbose=true", "f");
  const RunOptions merged = merge(line, file);
  EXPECT_EQ(merged.memory, "2G");
  EXPECT_EQ(merged.cpus, "2");
  EXPECT_EQ(merged.disks, std::vector<std::string>{"line.img"});
  EXPECT_TRUE(merged.verbose);
}

TEST(ConfigFile, ErrorsNameTheLineAndTheWayOut) {
  EXPECT_EQ(message_for("kernel = \"k\"\nmemry = \"1G\"\n"),
            "/etc/web.toml:2: unknown key 'memry'; did you mean 'memory'?");
  EXPECT_EQ(message_for("on_reboot = \"exit\""),
            "/etc/web.toml:1: unknown key 'on_reboot'; did you mean 'on-reboot'?");
  EXPECT_EQ(message_for("[network]\nmode = 1"),
            "/etc/web.toml:1: unknown key 'network'; see bulkhead-config(5) for all keys");
  EXPECT_EQ(message_for("\n\nmemory = 512"),
            "/etc/web.toml:3: memory must be a string, like memory = \"SIZE\"");
  EXPECT_EQ(message_for("detach = \"yes\""), "/etc/web.toml:1: detach must be true or false");
  EXPECT_EQ(message_for("disk = [1]").substr(0, 37), "/etc/web.toml:1: disk must be a strin");
  EXPECT_EQ(message_for("kernel = \"a\\u0000b\""),
            "/etc/web.toml:1: kernel contains a NUL character; remove it");
  EXPECT_TRUE(message_for("a = \n").starts_with("/etc/web.toml:1: not valid TOML: "));
  EXPECT_TRUE(message_for("cpus = 1\ncpus = 2").starts_with("/etc/web.toml:2: not valid TOML: "));
}

TEST(ConfigFile, IsBounded) {
  EXPECT_TRUE(message_for(std::string(kMaxConfigBytes + 1, '#')).find("larger than 64 KiB") !=
              std::string::npos);
  EXPECT_NE(message_for("disk = " + std::string(20000, '[')), "<no error>");
}

// The second text is what made toml++ run into undefined behaviour.
TEST(ConfigFile, LettersBeyondAsciiGoIntoCommentsOrEscapes) {
  EXPECT_EQ(message_for("# \xc3\xa9t\xc3\xa9\n  # \xe2\x82\xac\nkernel = \"\\u00e9\"\n"),
            "<no error>");
  EXPECT_NE(message_for("\xa0\xc5\xa0(").find("web.toml:1: a letter beyond ASCII"),
            std::string::npos);
  EXPECT_NE(message_for("cpus = 1\nk\xc3\xa9y = 1\n").find(":2: "), std::string::npos);
}

TEST(ConfigFile, TruncationNeverBreaksIt) {
  const std::string text = "kernel = \"k\"\ndisk = [\"a\", 'b']\ncpus = 2\nverbose = true\n";
  for (std::size_t length = 0; length <= text.size(); ++length) {
    message_for(std::string_view(text).substr(0, length));
  }
}

TEST(NearestKey, GuessesOnlyWhatIsNear) {
  EXPECT_EQ(nearest_key("kernal"), "kernel");
  EXPECT_EQ(nearest_key("cpu"), "cpus");
  EXPECT_EQ(nearest_key("watchdog"), "watchdog-ms");
  EXPECT_EQ(nearest_key("colour"), "");
  EXPECT_EQ(nearest_key(std::string(10000, 'k')), "");
}

}  // namespace
}  // namespace bulkhead::cli
