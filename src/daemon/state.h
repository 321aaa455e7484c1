// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "daemon/frame_keeper.h"
#include "daemon/server.h"

namespace bulkhead::daemon {

// What outlives the daemon, and how it is found again: in the runtime directory, `ledger`, the
// pools' own files, and `lock`, on which a running daemon holds flock(2).

struct PoolSource {
  std::unique_ptr<FramePool> pool;
  std::uint64_t physical_base = 0;  // kCarved
};

// Makes the directory if it is absent. kBusy when another daemon has it.
Result<Fd> lock_runtime_dir(const std::string& path);

// Opens the ledger there, or begins one. A ledger of other pools is replaced when nobody holds a
// frame of it, and else is kExists.
Result<std::unique_ptr<FrameKeeper>> open_keeper(const std::string& runtime_dir,
                                                 std::vector<PoolSource> pools,
                                                 std::uint64_t per_user_frames);

// "socket" in the directory, for the group (by default: for its owner alone).
Result<Fd> listen_at(const std::string& runtime_dir, std::optional<gid_t> group);

}  // namespace bulkhead::daemon
