// SPDX-License-Identifier: Apache-2.0
#include "vmm/console_sink.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace bulkhead {
namespace {

// A descriptor shared with other programs must not be made non-blocking under them. Once poll says
// that it is writable, this much goes into a terminal or a pipe without waiting.
constexpr std::size_t kCautiousChunk = 256;

}  // namespace

Result<ConsoleRing> ConsoleRing::create() {
  return ConsoleRing(TRY(Mapping::create({.size_bytes = kBytes,
                                          .protection = PROT_READ | PROT_WRITE,
                                          .flags = MAP_PRIVATE | MAP_ANONYMOUS})));
}

void ConsoleRing::write(std::span<const std::byte> bytes) {
  if (bytes.size() > kBytes) {
    end_ += bytes.size() - kBytes;
    bytes = bytes.last(kBytes);
  }
  const std::size_t offset = end_ % kBytes;
  const std::size_t first = std::min<std::size_t>(bytes.size(), kBytes - offset);
  std::memcpy(memory_.data() + offset, bytes.data(), first);
  std::memcpy(memory_.data(), bytes.data() + first, bytes.size() - first);
  end_ += bytes.size();
}

std::uint64_t ConsoleRing::back(std::uint64_t position, std::uint64_t count) const {
  const std::uint64_t wanted = position > count ? position - count : 0;
  return std::max(wanted, begin());
}

std::size_t ConsoleRing::copy(std::uint64_t position, std::span<std::byte> out) const {
  CHECK(position >= begin() && position <= end_);
  const std::size_t count = std::min<std::size_t>(out.size(), end_ - position);
  const std::size_t offset = position % kBytes;
  const std::size_t first = std::min<std::size_t>(count, kBytes - offset);
  std::memcpy(out.data(), memory_.data() + offset, first);
  std::memcpy(out.data() + first, memory_.data(), count - first);
  return count;
}

ConsoleSink::ConsoleSink(Fd fd, std::uint64_t limit_bytes)
    : fd_(std::move(fd)), limit_bytes_(limit_bytes) {
  struct stat status{};
  if (::fstat(fd_.get(), &status) == 0) {
    socket_ = S_ISSOCK(status.st_mode);
    pollable_ = !S_ISREG(status.st_mode);
  }
  const int flags = ::fcntl(fd_.get(), F_GETFL);
  const bool may_block = pollable_ && !socket_ && (flags < 0 || (flags & O_NONBLOCK) == 0);
  if (may_block) chunk_bytes_ = kCautiousChunk;
}

void ConsoleSink::set_always_ready() {
  pollable_ = false;
  chunk_bytes_ = kChunk;
}

bool ConsoleSink::start_over_if_full(std::size_t count) {
  if (limit_bytes_ == 0 || range_fits(size_bytes_, count, limit_bytes_)) return false;
  size_bytes_ = 0;
  return ::ftruncate(fd_.get(), 0) == 0 && ::lseek(fd_.get(), 0, SEEK_SET) == 0;
}

ConsoleSink::Outcome ConsoleSink::write(std::span<const std::byte> bytes, std::size_t& written) {
  written = 0;
  const std::size_t count = std::min(bytes.size(), chunk_bytes_);
  const ssize_t done = socket_ ? ::send(fd_.get(), bytes.data(), count, MSG_DONTWAIT | MSG_NOSIGNAL)
                               : ::write(fd_.get(), bytes.data(), count);
  if (done >= 0) {
    written = static_cast<std::size_t>(done);
    size_bytes_ += written;
    return Outcome::kWritten;
  }
  const bool later = errno == EAGAIN || errno == EINTR;
  return later ? Outcome::kFull : Outcome::kClosed;
}

}  // namespace bulkhead
