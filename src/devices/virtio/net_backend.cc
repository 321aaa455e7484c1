// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/net_backend.h"

#include <fcntl.h>

#include <cerrno>

namespace bulkhead {

Result<void> NetBackend::make_nonblocking(const Fd& fd) {
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return os_error("cannot make the network descriptor non-blocking");
  }
  return {};
}

bool NetBackend::would_block(int error_number) {
  return error_number == EAGAIN || error_number == EINTR;
}

}  // namespace bulkhead
