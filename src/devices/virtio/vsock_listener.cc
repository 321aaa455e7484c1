// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/vsock_listener.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace bulkhead {
namespace {

constexpr int kBacklog = 128;

// The caller has checked that the path fits.
sockaddr_un address_of(std::string_view path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::ranges::copy(path.substr(0, sizeof address.sun_path - 1), address.sun_path);
  return address;
}

Result<Fd> create_socket() {
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return os_error("cannot create a Unix socket");
  return socket;
}

Result<void> connect_socket(const Fd& socket, std::string_view path) {
  const sockaddr_un address = address_of(path);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return os_error("cannot connect to a Unix socket");
  }
  return {};
}

bool bind_socket(const Fd& socket, std::string_view path) {
  const sockaddr_un address = address_of(path);
  return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

// Whether a socket lies there that refuses connections because its owner is gone.
bool is_dead_socket(const std::string& path) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) return false;
  const Result<Fd> probe = create_socket();
  if (!probe) return false;
  const Result<void> connected = connect_socket(*probe, path);
  return !connected && connected.error().os_errno == ECONNREFUSED;
}

}  // namespace

Result<VsockListener> VsockListener::create(std::string path) {
  if (path.empty() || path.find('\0') != std::string::npos) {
    return Error{Errc::kInvalidArgument, 0, "the vsock socket needs a path"};
  }
  if (path.size() > kMaxPath) {
    return Error{Errc::kInvalidArgument, 0,
                 "the path of the vsock socket is too long: at most 96 bytes"};
  }
  VsockListener listener(std::move(path), TRY(create_socket()));
  // On Linux the mode of the socket's inode becomes the file's: there is no moment at which others
  // could connect, and the process's umask stays as it is.
  if (::fchmod(listener.fd(), 0600) != 0) return os_error("cannot protect the vsock socket");
  if (!bind_socket(listener.socket_, listener.path_)) {
    if (errno != EADDRINUSE) return os_error("cannot bind the vsock socket");
    if (!is_dead_socket(listener.path_)) {
      return Error{Errc::kExists, EADDRINUSE, "the path of the vsock socket is in use"};
    }
    ::unlink(listener.path_.c_str());
    if (!bind_socket(listener.socket_, listener.path_)) {
      return os_error("cannot bind the vsock socket");
    }
  }
  struct stat status{};
  if (::lstat(listener.path_.c_str(), &status) != 0) return os_error("the vsock socket vanished");
  listener.device_ = status.st_dev;
  listener.inode_ = status.st_ino;
  if (::listen(listener.fd(), kBacklog) != 0) return os_error("cannot listen on the vsock socket");
  return listener;
}

VsockListener::VsockListener(VsockListener&& other) noexcept
    : path_(std::move(other.path_)),
      socket_(std::move(other.socket_)),
      device_(other.device_),
      inode_(std::exchange(other.inode_, 0)) {}

VsockListener::~VsockListener() {
  struct stat status{};
  if (inode_ == 0 || ::lstat(path_.c_str(), &status) != 0) return;
  if (status.st_dev == device_ && status.st_ino == inode_) ::unlink(path_.c_str());
}

Result<Fd> VsockListener::accept() const {
  Fd client(::accept4(fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (client.valid()) return client;
  const bool none = errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
  if (none) return Error{Errc::kNotFound, 0, "no client waits"};
  return os_error("cannot accept a vsock client");
}

Result<Fd> VsockListener::connect(std::uint32_t port) const {
  Fd socket = TRY(create_socket());
  TRY(connect_socket(socket, path_ + "_" + std::to_string(port)));
  return socket;
}

}  // namespace bulkhead
