// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>

#include "base/byte_reader.h"
#include "base/fd.h"
#include "devices/tpm.h"

namespace bulkhead::agent {

// A TPM behind a path that a program can open, read and write: what /dev/tpmrm0 is in a guest. A
// pseudo terminal without any of a terminal's habits.
class TpmOnTerminal {
 public:
  explicit TpmOnTerminal(Tpm& tpm) : tpm_(tpm) {
    int ours = -1;
    int theirs = -1;
    std::array<char, 128> name{};
    termios raw{};
    ::cfmakeraw(&raw);
    CHECK(::openpty(&ours, &theirs, name.data(), &raw, nullptr) == 0);
    ours_ = Fd(ours);
    theirs_ = Fd(theirs);
    CHECK(::fcntl(ours, F_SETFD, FD_CLOEXEC) == 0 && ::fcntl(theirs, F_SETFD, FD_CLOEXEC) == 0);
    path_ = name.data();
    thread_ = std::thread([this] { serve(); });
  }
  ~TpmOnTerminal() {
    stopping_ = true;
    thread_.join();
  }
  TpmOnTerminal(const TpmOnTerminal&) = delete;
  TpmOnTerminal& operator=(const TpmOnTerminal&) = delete;

  const std::string& path() const { return path_; }

 private:
  static constexpr std::size_t kHeaderBytes = 10;

  bool read_to(std::vector<std::byte>& command, std::size_t size) {
    while (command.size() < size) {
      pollfd entry{.fd = ours_.get(), .events = POLLIN, .revents = 0};
      if (stopping_) return false;
      if (::poll(&entry, 1, 20) <= 0) continue;
      const std::size_t at = command.size();
      command.resize(size);
      const ssize_t got = ::read(ours_.get(), command.data() + at, size - at);
      if (got <= 0) return false;
      command.resize(at + static_cast<std::size_t>(got));
    }
    return true;
  }
  void serve() {
    while (!stopping_) {
      std::vector<std::byte> command;
      if (!read_to(command, kHeaderBytes)) return;
      ByteReader reader(command);
      CHECK(reader.skip(2));
      if (!read_to(command, reader.read_be<std::uint32_t>().value())) return;
      std::array<std::byte, kTpmBufferBytes> response;
      const std::size_t length = tpm_.execute(TpmLocality::k0, command, response).value();
      CHECK(::write(ours_.get(), response.data(), length) == static_cast<ssize_t>(length));
    }
  }

  Tpm& tpm_;
  Fd ours_;
  Fd theirs_;  // so that the line does not hang up between two programs
  std::string path_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace bulkhead::agent
