// SPDX-License-Identifier: Apache-2.0
#include "boot/unpack/helper_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

#include "base/address.h"
#include "base/fd.h"
#include "boot/unpack/helper_protocol.h"

namespace bulkhead::boot {
namespace {

constexpr std::uint64_t kMaxUnpackedBytes = 512 * kMiB;
constexpr int kHighDescriptor = 10;  // above those that the helper gets

class FileActions {
 public:
  FileActions() { posix_spawn_file_actions_init(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  ~FileActions() { posix_spawn_file_actions_destroy(&actions_); }

  // The helper gets these two and its standard error, closed for it by its confinement.
  bool set(int input_fd, int output_fd) {
    return posix_spawn_file_actions_adddup2(&actions_, input_fd, kUnpackInputFd) == 0 &&
           posix_spawn_file_actions_adddup2(&actions_, output_fd, kUnpackOutputFd) == 0 &&
           posix_spawn_file_actions_addclosefrom_np(&actions_, kUnpackOutputFd + 1) == 0;
  }
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

Result<Fd> duplicate_high(int fd) {
  Fd high(::fcntl(fd, F_DUPFD_CLOEXEC, kHighDescriptor));
  if (!high.valid()) return os_error("cannot duplicate a descriptor");
  return high;
}

Result<void> to_result(int wait_status) {
  if (!WIFEXITED(wait_status)) {
    return Error{Errc::kMalformed, 0, "the unpacking process broke a limit and was stopped"};
  }
  switch (static_cast<UnpackStatus>(WEXITSTATUS(wait_status))) {
    case UnpackStatus::kDone:
      return {};
    case UnpackStatus::kDamaged:
      return Error{Errc::kMalformed, 0, "the kernel's compressed data is damaged"};
    case UnpackStatus::kUnsupported:
      return Error{Errc::kUnsupported, 0, "the kernel's compression is not gzip, xz, zstd or lz4"};
    case UnpackStatus::kTooLarge:
      return Error{Errc::kMalformed, 0, "the kernel unpacks to more than its header announces"};
    case UnpackStatus::kNoSpace:
      return Error{Errc::kExhausted, ENOSPC, "no space for the unpacked kernel"};
    case UnpackStatus::kNotConfined:
      return Error{Errc::kPermission, 0, "the unpacking process could not be confined"};
    case UnpackStatus::kUsage:
    case UnpackStatus::kIo:
      break;
  }
  return Error{Errc::kIo, 0, "the unpacking process failed"};
}

}  // namespace

std::string default_helper_path() {
  std::array<char, PATH_MAX> buffer;
  const ssize_t length = ::readlink("/proc/self/exe", buffer.data(), buffer.size());
  std::string path(buffer.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
  path.resize(path.rfind('/') + 1);  // nothing, if there is none
  return path + "bulkhead-unpack";
}

Result<void> run_unpack_helper(const std::string& helper_path, int input_fd, const BzImage& image,
                               int output_fd) {
  const Fd input = TRY(duplicate_high(input_fd));
  const Fd output = TRY(duplicate_high(output_fd));
  FileActions actions;
  if (!actions.set(input.get(), output.get())) {
    return Error{Errc::kExhausted, 0, "no memory to start the unpacking process"};
  }
  std::string name = "bulkhead-unpack";
  std::string offset = std::to_string(image.payload_offset);
  std::string size = std::to_string(image.payload_bytes);
  // A kernel's init_size covers its unpacked image (arch/x86/boot/header.S).
  std::string limit = std::to_string(std::min(image.init_size, kMaxUnpackedBytes));
  std::array<char*, 5> arguments{name.data(), offset.data(), size.data(), limit.data(), nullptr};
  std::array<char*, 1> environment{nullptr};
  pid_t child = 0;
  const int error = ::posix_spawn(&child, helper_path.c_str(), actions.get(), nullptr,
                                  arguments.data(), environment.data());
  if (error != 0) return os_error(error, "cannot start bulkhead-unpack");
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return os_error("cannot wait for bulkhead-unpack");
  }
  return to_result(status);
}

}  // namespace bulkhead::boot
