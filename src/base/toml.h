// SPDX-License-Identifier: Apache-2.0
#pragma once

// toml++, configured the same wherever it is used. It throws: for code that is built with
// exceptions, which gives it no text that base/toml_text.h refuses.

#define TOML_ENABLE_FORMATTERS 0
// toml++ 3.0 asserts on some malformed files that it then refuses properly.
#define TOML_ASSERT(condition) static_cast<void>(0)
#include <toml++/toml.h>
