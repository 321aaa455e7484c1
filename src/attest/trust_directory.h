// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "attest/trust_store.h"

namespace bulkhead {

// The roots in the files *.pem and *.crt of a directory, at least one, or what is wrong, which
// `error` says with the path.
std::optional<TrustStore> read_trust_directory(const std::string& directory, std::string& error);

}  // namespace bulkhead
