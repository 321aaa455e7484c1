// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"

namespace bulkhead {

// Answers each request as the test says, on a thread of its own.
class FakeDaemon {
 public:
  using Packet = std::vector<std::uint32_t>;
  struct Answer {
    Packet packet;
    int file = -1;
  };
  using Answers = std::function<Answer(const Packet&)>;

  explicit FakeDaemon(Answers answers) : answers_(std::move(answers)) {
    std::string name = std::filesystem::temp_directory_path() / "bulkhead-daemon-XXXXXX";
    directory_ = ::mkdtemp(name.data());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path().c_str(), sizeof address.sun_path - 1);
    listener_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const auto* generic = static_cast<const sockaddr*>(static_cast<const void*>(&address));
    EXPECT_EQ(::bind(listener_.get(), generic, sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeDaemon() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    std::filesystem::remove_all(directory_);
  }
  std::string path() const { return directory_ / "s"; }

 private:
  // One connection after the other.
  void serve() const {
    for (;;) {
      const Fd connection(::accept(listener_.get(), nullptr, nullptr));
      if (!connection.valid()) return;
      Packet request(64);
      ssize_t got = 0;
      while ((got = ::recv(connection.get(), request.data(), request.size() * 4, 0)) > 0) {
        send(connection, answers_(Packet(request.begin(), request.begin() + got / 4)));
      }
    }
  }

  static void send(const Fd& connection, Answer answer) {
    iovec part{.iov_base = answer.packet.data(), .iov_len = answer.packet.size() * 4};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (answer.file >= 0) {
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(header), &answer.file, sizeof(int));
    }
    ::sendmsg(connection.get(), &message, MSG_NOSIGNAL);
  }

  Answers answers_;
  std::filesystem::path directory_;
  Fd listener_;
  std::thread thread_;
};

}  // namespace bulkhead
