// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/fd.h"
#include "base/result.h"

namespace bulkhead {

// The host's end of a guest's vsock: a listening Unix socket at PATH for connections into the
// guest, and the sockets PATH_<port>, which host programs listen on, for connections out of it.
class VsockListener {
 public:
  // sun_path less its NUL and less "_4294967295".
  static constexpr std::size_t kMaxPath = 107 - 11;

  // Binds PATH, for its owner only. A socket that nobody listens on any more is replaced; anything
  // else that is there is an error.
  static Result<VsockListener> create(std::string path);
  VsockListener(VsockListener&& other) noexcept;
  VsockListener& operator=(VsockListener&&) = delete;
  // Removes PATH, if it is still the socket that was bound.
  ~VsockListener();

  int fd() const { return socket_.get(); }
  // The next client; kNotFound when none waits. Non-blocking, like the descriptor returned.
  Result<Fd> accept() const;
  // Connects to PATH_<port>.
  Result<Fd> connect(std::uint32_t port) const;

 private:
  VsockListener(std::string path, Fd socket) : path_(std::move(path)), socket_(std::move(socket)) {}

  std::string path_;
  Fd socket_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace bulkhead
