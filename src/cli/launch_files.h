// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "cli/partition_config.h"

// Opens the files a partition needs, and finds out what is wrong with them before it starts. All
// throw UsageError.

namespace bulkhead::cli {

struct OpenedKernel {
  Fd fd;
  KernelKind kind = KernelKind::kBzImage;
  std::uint64_t needed_bytes = 0;  // of guest memory, to be started at all
};

OpenedKernel open_kernel(const std::string& path, bool unpack);

// `kernel_bytes` is what the kernel takes of the partition's memory.
Fd open_initrd(const std::string& path, std::uint64_t kernel_bytes, std::uint64_t memory_bytes);

// Locks the image for as long as the descriptor, or a copy of it, is open: exclusively when it is
// writable, shared when it is read-only.
Fd open_disk(const DiskRequest& request);

// The key file, which nobody else may be able to read.
Fd open_key_file(const std::string& path);
// A file without a name in that directory.
Fd open_sealed_file(const std::string& directory);

// A file that a TPM's state or counter is kept in: an empty one where there is none.
Fd open_tpm_file(const std::string& what, const std::string& path);

// That the host has this much, and that nothing is in the way of the vsock's socket.
void check_memory(std::uint64_t memory_bytes, MemoryBacking backing);
void check_vsock(const VsockSpec& vsock);
// Throws HostError.
void check_kvm();

}  // namespace bulkhead::cli
