// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "cli/run_options.h"

namespace bulkhead::cli {

inline constexpr std::size_t kMaxConfigBytes = 64 * 1024;

// The options in a TOML text (bulkhead-config(5)). `path` names the file in messages, and relative
// paths inside are relative to its directory. Throws UsageError, "path:line: what is wrong".
RunOptions parse_config(std::string_view text, const std::string& path);

RunOptions read_config_file(const std::string& path);

}  // namespace bulkhead::cli
