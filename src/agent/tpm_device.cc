// SPDX-License-Identifier: Apache-2.0
#include "agent/tpm_device.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "vtpm/response.h"

namespace bulkhead::agent {
namespace {

// The call's outcome, however often a signal came in between.
template <class Call>
ssize_t without_interruption(Call call) {
  ssize_t done = -1;
  do done = call();
  while (done < 0 && errno == EINTR);
  return done;
}

}  // namespace

Result<TpmDevice> TpmDevice::open(const char* path) {
  const int number = ::open(path, O_RDWR | O_CLOEXEC);
  if (number >= 0) return TpmDevice(Fd(number));
  if (errno == ENOENT) {
    return Error{Errc::kNotFound, 0,
                 "no such TPM: the partition has to be started with --tpm, and its kernel needs "
                 "tpm_crb"};
  }
  return os_error("cannot open the TPM");
}

Result<std::size_t> TpmDevice::execute(TpmLocality locality, std::span<const std::byte> command,
                                       std::span<std::byte, kTpmBufferBytes> response) {
  CHECK(locality == TpmLocality::k0);
  const ssize_t sent =
      without_interruption([&] { return ::write(device_.get(), command.data(), command.size()); });
  if (sent < 0) return os_error("cannot ask the TPM");
  if (static_cast<std::size_t>(sent) != command.size()) {
    return Error{Errc::kIo, 0, "the TPM takes half a command"};
  }
  return read_response(response);
}

// A read may give a part, the first of which says how long the whole is.
Result<std::size_t> TpmDevice::read_response(std::span<std::byte, kTpmBufferBytes> response) {
  std::size_t length = 0;
  while (length < response.size()) {
    const auto rest = response.subspan(length);
    const ssize_t got =
        without_interruption([&] { return ::read(device_.get(), rest.data(), rest.size()); });
    if (got < 0) return os_error("the TPM does not answer");
    length += static_cast<std::size_t>(got);
    if (got == 0 || vtpm::is_response(response.first(length))) break;
  }
  return length;
}

}  // namespace bulkhead::agent
