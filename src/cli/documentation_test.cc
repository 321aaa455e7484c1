// SPDX-License-Identifier: Apache-2.0
// Manual pages and shell completion know every option.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/run_options.h"

namespace bulkhead::cli {
namespace {

std::string read(const std::string& name) {
  std::ifstream file(std::filesystem::path(BULKHEAD_SOURCE_DIR) / name);
  EXPECT_TRUE(file.good()) << name;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// In a manual page a minus sign is written "\-".
std::string as_manual_text(std::string_view text) {
  std::string out;
  for (char c : text) out.append(c == '-' ? "\\-" : std::string(1, c));
  return out;
}

TEST(Documentation, KnowsEveryOption) {
  const std::string run = read("docs/man/bulkhead-run.1");
  const std::string config = read("docs/man/bulkhead-config.5");
  const std::string completion = read("src/cli/completion/bulkhead.bash");
  for (const OptionInfo& option : run_option_table()) {
    const std::string key(option.key);
    EXPECT_NE(run.find(std::string(".B \\-\\-").append(as_manual_text(key))), std::string::npos)
        << key;
    EXPECT_NE(config.find(std::string(" ").append(as_manual_text(key))), std::string::npos) << key;
    EXPECT_NE(completion.find(std::string("--").append(key)), std::string::npos) << key;
  }
}

}  // namespace
}  // namespace bulkhead::cli
