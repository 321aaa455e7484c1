// SPDX-License-Identifier: Apache-2.0
// The manual page and the shell completion know every option.
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>

#include "broker/testing/shell.h"

namespace bulkhead::agent {
namespace {

std::string read(const std::string& name) {
  std::ifstream file(BULKHEAD_SOURCE_DIR "/" + name);
  EXPECT_TRUE(file.good()) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

// In a manual page a minus sign is written "\-".
std::string as_manual_text(const std::string& text) {
  return std::regex_replace(text, std::regex("-"), "\\-");
}

std::set<std::string> options_of(const std::string& command) {
  const std::string help = broker::shell("'" BULKHEAD_AGENT "' " + command + " --help").out;
  const std::regex option("--[a-z-]+");
  std::set<std::string> options;
  for (std::sregex_iterator i(help.begin(), help.end(), option), end; i != end; ++i) {
    options.insert(i->str());
  }
  return options;
}

TEST(AgentDocumentation, KnowsEveryOption) {
  const std::string manual = read("docs/man/bulkhead-agent.8");
  const std::string completion = read("src/cli/completion/bulkhead-agent.bash");
  for (const char* command : {"get", "unlock", "evidence"}) {
    const auto options = options_of(command);
    EXPECT_GE(options.size(), 4u) << command;
    for (const std::string& option : options) {
      EXPECT_NE(manual.find(as_manual_text(option)), std::string::npos) << option;
      EXPECT_NE(completion.find(option), std::string::npos) << option;
    }
  }
}

TEST(AgentDocumentation, KnowsEveryKeyOfTheConfiguration) {
  const std::string manual = read("docs/man/bulkhead-agent.8");
  const std::string script = read("guest/initramfs/scripts/local-top/bulkhead-agent");
  const std::regex key("\n +([A-Z_]+)=\\*\\)");
  unsigned keys = 0;
  for (std::sregex_iterator i(script.begin(), script.end(), key), end; i != end; ++i, ++keys) {
    EXPECT_NE(manual.find((*i)[1]), std::string::npos) << (*i)[1];
  }
  EXPECT_EQ(keys, 7u);
}

}  // namespace
}  // namespace bulkhead::agent
