// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace bulkhead::boot {

struct CacheOptions {
  std::string directory;    // empty: CacheDirectory::default_path()
  std::string helper_path;  // empty: default_helper_path()
};

// The unpacked form of a bzImage, from the cache, or unpacked and cached now. The descriptor is for
// BootRequest::kernel_fd, and open for reading only. On an error (no space, no home, an unknown
// compression) the bzImage can be booted as it is: the caller says so in one line, and goes on.
//
// A bzImage that was seen before is recognised by its FileStamp, without reading it; so is a cached
// file that nobody has touched since it was verified. Otherwise both are hashed: about 0.2 s.
Result<Fd> unpack_cached(int bzimage_fd, const CacheOptions& options);

}  // namespace bulkhead::boot
