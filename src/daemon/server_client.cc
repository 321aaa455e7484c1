// SPDX-License-Identifier: Apache-2.0
#include "daemon/server_client.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

namespace bulkhead::daemon {

Result<void> Server::Client::start() {
  // With each packet the kernel then tells who sent it: the descriptor may be in other hands.
  const int on = 1;
  if (::setsockopt(connection_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0) {
    return os_error("cannot ask for a peer's credentials");
  }
  watch_ = TRY(Watch::create(server_.loop_, connection_.get(), EPOLLIN, *this));
  return {};
}

namespace {

// Whoever sends another number than one gets nothing done with them.
Fd only_descriptor(const cmsghdr* header) {
  const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  std::vector<Fd> files;
  for (std::size_t i = 0; i < count; ++i) {
    int number = -1;
    std::memcpy(&number, CMSG_DATA(header) + i * sizeof(int), sizeof number);
    files.emplace_back(number);
  }
  return count == 1 ? std::move(files[0]) : Fd();
}

}  // namespace

void Server::Client::take_control(msghdr& message) {
  sender = 0;
  file.reset();
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET) continue;
    if (header->cmsg_type == SCM_RIGHTS) {
      file = only_descriptor(header);
    } else if (header->cmsg_type == SCM_CREDENTIALS &&
               header->cmsg_len == CMSG_LEN(sizeof(ucred))) {
      ucred credentials{};
      std::memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
      sender = credentials.pid;
    }
  }
}

// Room for credentials and a descriptor: of more, the kernel drops what does not fit.
ssize_t Server::Client::receive(std::span<std::byte> packet) {
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int))>
      control{};
  iovec part{.iov_base = packet.data(), .iov_len = packet.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t got =
      ::recvmsg(connection_.get(), &message, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
  if (got <= 0) message.msg_controllen = 0;
  take_control(message);
  return got;
}

void Server::Client::on_ready(std::uint32_t /*events*/) {
  if (closed()) return;
  auto& packet = server_.packet_;
  const ssize_t got = receive(packet);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return close();
  const auto length = static_cast<std::size_t>(got);
  std::uint32_t serial = 0;
  if (length >= kHeaderBytes) serial = get_le<std::uint32_t>(packet, sizeof serial);
  if (length > packet.size()) {
    return answer(Error{Errc::kMalformed, 0, "the request is too long"}, serial);
  }
  answer(server_.serve(*this, std::span(packet).first(length)), serial);
  file.reset();
}

// Who does not speak the protocol is not listened to any further.
void Server::Client::answer(const Result<Reply>& reply, std::uint32_t serial) {
  if (reply && reply->later) return;
  if (reply) return send(*reply);
  const Error error = reply.error();
  Reply refusal(serial, status_of(error.code));
  const std::string_view text = std::string_view(error.what).substr(0, kMaxText);
  refusal.body.put_text(text, text.size());
  send(refusal);
  if (server_.refusals_.allow()) {
    log_info("request-refused", {{"uid", peer_.uid}, {"pid", peer_.process.pid}, {"why", text}});
  }
  if (error.code == Errc::kMalformed || error.code == Errc::kTruncated) close();
}

void Server::Client::send(const Reply& reply) {
  const auto bytes = reply.body.bytes();
  std::array<std::byte, kMaxReply> copy;
  std::copy(bytes.begin(), bytes.end(), copy.begin());
  iovec part{.iov_base = copy.data(), .iov_len = bytes.size()};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (reply.file.valid()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int number = reply.file.get();
    std::memcpy(CMSG_DATA(header), &number, sizeof number);
  }
  const ssize_t sent = ::sendmsg(connection_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(bytes.size())) close();
}

void Server::Client::close() {
  watch_.reset();
  connection_.reset();
}

Result<void> Server::Owner::start() {
  watch_ = TRY(Watch::create(server_.loop_, pidfd_.get(), EPOLLIN, *this));
  return {};
}

void Server::Owner::on_ready(std::uint32_t /*events*/) {
  watch_.reset();
  dead = true;
  server_.owner_died(partition);
}

}  // namespace bulkhead::daemon
