// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace bulkhead::vtpm {

// Whether the bytes have the form of a response: tag, their own length, response code (TPM 2.0
// Part 1, "Response Structure"), and fit the interface's buffer.
bool is_response(std::span<const std::byte> bytes);

// TPM_RC of what is_response().
std::uint32_t response_code(std::span<const std::byte> response);

}  // namespace bulkhead::vtpm
