// SPDX-License-Identifier: Apache-2.0
// Configuration files, through the parser and on to the understood options; and launch
// specifications. Whatever the bytes, the outcome is a value or a one-line UsageError.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "cli/config_file.h"
#include "cli/error.h"
#include "cli/partition_config.h"
#include "vmm/launch_spec.h"

namespace bulkhead {
namespace {

void fuzz_config(std::string_view text) {
  try {
    cli::understand(cli::parse_config(text, "fuzz/input.toml"));
  } catch (const cli::UsageError& error) {
    CHECK(*error.what() != '\0');
  }
}

// What is accepted says the same when it is written again.
void fuzz_launch_spec(std::string_view text) {
  SpecError error;
  const auto spec = parse_launch_spec(text, error);
  if (!spec) {
    CHECK(!error.message.empty());
    return;
  }
  const auto again = parse_launch_spec(serialize(*spec), error);
  CHECK(again.has_value() && *again == *spec);
}

}  // namespace
}  // namespace bulkhead

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto* bytes = static_cast<const char*>(static_cast<const void*>(data));
  const std::string_view text(bytes + 1, size - 1);
  if (data[0] % 2 == 0) {
    bulkhead::fuzz_config(text);
  } else {
    bulkhead::fuzz_launch_spec(text);
  }
  return 0;
}
