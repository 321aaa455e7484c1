// SPDX-License-Identifier: Apache-2.0
#include "mem/ledger_storage.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/ledger_format.h"

namespace bulkhead {
namespace {

constexpr std::size_t kMaxBytes = ledger::words_for(ledger::kMaxFrames) * sizeof(std::uint64_t);

Result<Mapping> map_file(int fd, std::size_t size_bytes) {
  return Mapping::create({.size_bytes = size_bytes,
                          .protection = PROT_READ | PROT_WRITE,
                          .flags = MAP_SHARED,
                          .fd = fd});
}

}  // namespace

LedgerMemory::LedgerMemory(std::vector<std::uint64_t> words) : memory_(std::move(words)) {
  words_ = memory_;
}

LedgerMemory::LedgerMemory(std::uint64_t frames)
    : LedgerMemory(std::vector<std::uint64_t>(ledger::words_for(frames))) {}

LedgerFile::LedgerFile(Mapping mapping) : mapping_(std::move(mapping)) {
  words_ = {static_cast<std::uint64_t*>(static_cast<void*>(mapping_.data())),
            mapping_.size() / sizeof(std::uint64_t)};
}

Result<std::unique_ptr<LedgerFile>> LedgerFile::open(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return os_error("cannot examine the ledger's file");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (!S_ISREG(status.st_mode) || size % sizeof(std::uint64_t) != 0 || size > kMaxBytes ||
      size < ledger::words_for(1) * sizeof(std::uint64_t)) {
    return Error{Errc::kMalformed, 0, "the file has no size that a ledger can have"};
  }
  return std::unique_ptr<LedgerFile>(new LedgerFile(TRY(map_file(fd, size))));
}

Result<std::unique_ptr<LedgerFile>> LedgerFile::create(int fd, std::uint64_t frames) {
  if (frames == 0 || frames > ledger::kMaxFrames) {
    return Error{Errc::kInvalidArgument, 0, "a ledger has 1 to 4194304 frames"};
  }
  const std::size_t size = ledger::words_for(frames) * sizeof(std::uint64_t);
  // Allocated now: a store into a full tmpfs would end us with SIGBUS.
  if (const int error = ::posix_fallocate(fd, 0, static_cast<off_t>(size)); error != 0) {
    return os_error(error, "cannot make room for the ledger");
  }
  return std::unique_ptr<LedgerFile>(new LedgerFile(TRY(map_file(fd, size))));
}

}  // namespace bulkhead
