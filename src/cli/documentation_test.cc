// SPDX-License-Identifier: Apache-2.0
// Manual pages and shell completion know every option.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "attest/report.h"
#include "cli/run_options.h"
#include "host/memory_audit.h"

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

TEST(Documentation, KnowsTheLedgerCommand) {
  const std::string manual = read("docs/man/bulkhead-ledger.1");
  const std::string completion = read("src/cli/completion/bulkhead.bash");
  for (const char* word : {"show", "audit", "map", "--json", "--output", "--text"}) {
    EXPECT_NE(manual.find(as_manual_text(word)), std::string::npos) << word;
    EXPECT_NE(completion.find(word), std::string::npos) << word;
  }
  for (std::uint8_t kind = 0; kind <= std::uint8_t(host::FindingKind::kOwnerDead); ++kind) {
    const char* name = host::to_string(host::FindingKind(kind));
    EXPECT_NE(manual.find(".B " + as_manual_text(name)), std::string::npos) << name;
  }
}

TEST(Documentation, KnowsTheVerifyCommand) {
  const std::string manual = read("docs/man/bulkhead-verify.1");
  const std::string completion = read("src/cli/completion/bulkhead.bash");
  const std::string checks = read("docs/attestation.md");
  for (const char* word : {"--evidence", "--policy", "--trust", "--nonce", "--nonce-time",
                           "--secret", "--time", "--json", "--ear", "--ear-key"}) {
    EXPECT_NE(manual.find(as_manual_text(word)), std::string::npos) << word;
    EXPECT_NE(completion.find(word), std::string::npos) << word;
  }
  for (unsigned i = 0; i < kCheckCount; ++i) {
    const std::string name = to_string(static_cast<Check>(i));
    EXPECT_NE(manual.find(as_manual_text(name)), std::string::npos) << name;
    EXPECT_NE(checks.find("| " + std::to_string(i + 1) + " | `" + name + "` |"), std::string::npos)
        << name;
  }
}

TEST(Documentation, KnowsTheHostCommand) {
  const std::string manual = read("docs/man/bulkhead-host.1");
  const std::string completion = read("src/cli/completion/bulkhead.bash");
  for (const char* word :
       {"enrol", "show", "certify", "--request", "--grant", "--software", "--name", "--host-tpm",
        "--state", "--json", "--authority-key", "--authority-certificates", "--tpm-roots", "--days",
        "counters", "--of", "--remove"}) {
    EXPECT_NE(manual.find(as_manual_text(word)), std::string::npos) << word;
    EXPECT_NE(completion.find(word), std::string::npos) << word;
  }
}

}  // namespace
}  // namespace bulkhead::cli
