// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/result.h"
#include "boot/bzimage.h"

namespace bulkhead::boot {

// The `bulkhead-unpack` that lies beside the running program.
std::string default_helper_path();

// Runs the helper and waits for it: it appends the image's unpacked payload to `output_fd`.
Result<void> run_unpack_helper(const std::string& helper_path, int input_fd, const BzImage& image,
                               int output_fd);

}  // namespace bulkhead::boot
