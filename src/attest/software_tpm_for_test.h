// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

#include "attest/tpm_attest.h"
#include "attest/tpm_public.h"
#include "base/fd.h"
#include "measure/tpm_wire.h"

namespace bulkhead {

// A process of swtpm with a new TPM, asked by commands of TPM 2.0 Part 3 over a socket pair. It
// ends with the test.
class SoftwareTpm {
 public:
  static constexpr std::uint32_t kEndorsement = 0x4000000b;  // TPM_RH_ENDORSEMENT

  struct Object {
    std::uint32_t handle = 0;
    TpmPublic object;
  };
  struct Quote {
    Bytes attest;
    Bytes signature;
  };

  static bool is_installed() { return ::access("/usr/bin/swtpm", X_OK) == 0; }

  SoftwareTpm() {
    char name[] = "/tmp/attest-test-XXXXXX";
    CHECK(::mkdtemp(name) != nullptr);
    directory_ = name;
    int ends[2];
    CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    socket_ = Fd(ends[0]);
    const timeval patience{.tv_sec = 60, .tv_usec = 0};
    CHECK(::setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    const Fd other(ends[1]);
    process_ = ::fork();
    CHECK(process_ >= 0);
    if (process_ == 0) run(other.get());
  }
  ~SoftwareTpm() {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    std::filesystem::remove_all(directory_);
  }
  SoftwareTpm(const SoftwareTpm&) = delete;
  SoftwareTpm& operator=(const SoftwareTpm&) = delete;

  // TPM2_CreatePrimary in the endorsement hierarchy.
  Object create_primary(const TpmPublic& form) {
    TpmWriter command;
    command.u32(kEndorsement).raw(authorization(1)).u16(4).u16(0).u16(0);
    command.sized(serialize(form)).u16(0).u32(0);
    const Bytes answer = call(0x8002, 0x131, command.take());
    ByteReader reader(answer);
    Object made;
    made.handle = reader.read_be<std::uint32_t>().value();
    CHECK(reader.skip(4));
    made.object = parse_tpmt_public(read_2b(reader, 1024).value()).value();
    return made;
  }

  Quote quote(const Object& key, std::span<const std::byte> data, const PcrSelections& pcrs) {
    TpmWriter command;
    command.u32(key.handle).raw(authorization(1)).sized(data).algorithm(TpmAlg::kNull);
    return attestation(0x158, command.raw(selection(pcrs)).take());
  }

  // TPM2_Certify: another thing that a restricted key signs.
  Quote certify(const Object& key, const Object& object, std::span<const std::byte> data) {
    TpmWriter command;
    command.u32(object.handle).u32(key.handle).raw(authorization(2)).sized(data);
    return attestation(0x148, command.algorithm(TpmAlg::kNull).take());
  }

  void extend(unsigned pcr, std::span<const std::byte> digest) {
    TpmWriter command;
    command.u32(pcr).raw(authorization(1)).u32(1).algorithm(TpmAlg::kSha256).raw(digest);
    call(0x8002, 0x182, command.take());
  }

  Bytes read_pcr(PcrId pcr) {
    const Bytes answer = call(0x8001, 0x17e, selection({PcrSelection{pcr.bank, 1U << pcr.index}}));
    ByteReader reader(answer);
    CHECK(reader.skip(4 + 4 + 2 + 1 + 3 + 4));
    return copy_of(read_2b(reader, 64).value());
  }

  void flush(const Object& object) { call(0x8001, 0x165, TpmWriter().u32(object.handle).take()); }

 private:
  [[noreturn]] void run(int fd) const {
    const std::string number = std::to_string(::dup(fd));  // without close-on-exec
    const std::string state = "dir=" + directory_.string();
    ::dup2(::open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
    ::execl("/usr/bin/swtpm", "swtpm", "socket", "--tpm2", "--fd", number.c_str(), "--tpmstate",
            state.c_str(), "--flags", "not-need-init,startup-clear", nullptr);
    ::_exit(1);
  }

  // Empty passwords.
  static Bytes authorization(unsigned count) {
    TpmWriter writer;
    writer.u32(9 * count);
    for (unsigned i = 0; i < count; ++i) writer.u32(0x40000009).u16(0).u8(0).u16(0);
    return writer.take();
  }
  static Bytes selection(const PcrSelections& pcrs) {
    TpmWriter writer;
    writer.u32(static_cast<std::uint32_t>(pcrs.size()));
    for (const PcrSelection& bank : pcrs) {
      writer.algorithm(bank.bank).u8(3);
      for (unsigned shift : {0U, 8U, 16U}) {
        writer.u8(static_cast<std::uint8_t>(bank.pcrs >> shift & 0xff));
      }
    }
    return writer.take();
  }

  Quote attestation(std::uint32_t code, const Bytes& parameters) {
    const Bytes answer = call(0x8002, code, parameters);
    ByteReader reader(answer);
    const auto size = reader.read_be<std::uint32_t>().value();
    const auto attest = read_2b(reader, 1024).value();
    return {copy_of(attest), copy_of(reader.take(size - 2 - attest.size()).value())};
  }

  // The answer behind its header. The command must succeed, in the end: TPM_RC_RETRY means just
  // that.
  Bytes call(std::uint16_t tag, std::uint32_t code, const Bytes& parameters) {
    constexpr std::uint32_t kTpmRcRetry = 0x922;
    constexpr int kMaxTries = 1000;
    TpmWriter command;
    command.u16(tag).u32(static_cast<std::uint32_t>(10 + parameters.size())).u32(code);
    const Bytes bytes = command.raw(parameters).take();
    for (int tries = 0; tries < kMaxTries; ++tries) {
      CHECK(::write(socket_.get(), bytes.data(), bytes.size()) ==
            static_cast<ssize_t>(bytes.size()));
      const Bytes header = receive(10);
      ByteReader reader(header);
      CHECK(reader.skip(2));
      const auto size = reader.read_be<std::uint32_t>().value();
      const auto result = reader.read_be<std::uint32_t>().value();
      CHECK(size >= 10);
      Bytes answer = receive(size - 10);
      if (result == 0) return answer;
      CHECK(result == kTpmRcRetry);
    }
    std::abort();  // it never became ready
  }
  Bytes receive(std::size_t size_bytes) {
    Bytes bytes(size_bytes);
    if (bytes.empty()) return bytes;  // recv(2) would wait for a byte, and leave it
    CHECK(::recv(socket_.get(), bytes.data(), size_bytes, MSG_WAITALL) ==
          static_cast<ssize_t>(size_bytes));
    return bytes;
  }

  std::filesystem::path directory_;
  Fd socket_;
  pid_t process_ = -1;
};

}  // namespace bulkhead
