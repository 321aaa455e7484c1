// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace bulkhead::agent {

// What is wrong with a LUKS2 header, from the JSON of `cryptsetup luksDump --dump-json-metadata`;
// empty if nothing is.
//
// Whoever provides the disk can write another header onto it: one that keeps the key right, but has
// data "encrypted" with cipher_null from now on; or, for cryptsetup without a fix of 2025, a
// keyslot that opens with any key, and a volume key that its writer knows. So the ciphers are ours
// to name.
std::string luks_header_faults(std::string_view metadata);

}  // namespace bulkhead::agent
