// SPDX-License-Identifier: Apache-2.0
#include "mem/numa.h"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>

namespace bulkhead {
namespace {

constexpr unsigned kMaxNodes = 1024;  // CONFIG_NODES_SHIFT is at most 10
constexpr unsigned kWordBits = sizeof(unsigned long) * CHAR_BIT;

}  // namespace

Result<void> bind_to_node(const Mapping& mapping, unsigned node) {
  if (node >= kMaxNodes) return Error{Errc::kNotFound, 0, "the host has no such NUMA node"};
  std::array<unsigned long, kMaxNodes / kWordBits> mask{};
  mask[node / kWordBits] = 1UL << (node % kWordBits);
  // The kernel takes one bit less than it is told: mm/mempolicy.c, get_nodes().
  if (::syscall(SYS_mbind, mapping.data(), mapping.size(), MPOL_BIND, mask.data(), kMaxNodes + 1,
                0) == 0) {
    return {};
  }
  // "No node left in the mask" is how it says that there is none, or none with memory.
  if (errno == EINVAL) return Error{Errc::kNotFound, EINVAL, "the host has no such NUMA node"};
  if (errno == ENOSYS) return os_error("the host's kernel knows no NUMA nodes (CONFIG_NUMA)");
  return os_error("cannot bind memory to a NUMA node");
}

Result<void> check_node(unsigned node) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return bind_to_node(
      TRY(Mapping::create(
          {.size_bytes = page, .protection = PROT_NONE, .flags = MAP_PRIVATE | MAP_ANONYMOUS})),
      node);
}

}  // namespace bulkhead
