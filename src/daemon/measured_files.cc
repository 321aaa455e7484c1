// SPDX-License-Identifier: Apache-2.0
#include "daemon/measured_files.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>

#include "base/fd.h"
#include "base/log.h"
#include "measure/measured_file.h"
#include "measure/pcr_bank.h"

namespace bulkhead::daemon {
namespace {

// What is kept is given to who may read the file, and to nobody who can only name it.
Result<void> check_access(int file) {
  const int flags = ::fcntl(file, F_GETFL);
  if (flags < 0) return os_error("cannot examine the file");
  if ((flags & O_PATH) == 0 && (flags & O_ACCMODE) != O_WRONLY) return {};
  return Error{Errc::kPermission, 0, "the file is not open for reading"};
}

// A user may be the server of a file system in user space, and keep us waiting.
Result<void> check_kind(int file) {
  struct stat status{};
  struct statfs system{};
  if (::fstat(file, &status) != 0 || ::fstatfs(file, &system) != 0) {
    return os_error("cannot examine the file");
  }
  if (!S_ISREG(status.st_mode) || system.f_type == FUSE_SUPER_MAGIC) {
    return Error{Errc::kUnsupported, 0, "only regular files of the kernel's own are measured"};
  }
  return {};
}

Result<Fd> new_copy() {
  Fd copy(::memfd_create("bulkhead-measured", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!copy.valid()) return os_error("cannot make a memory file");
  return copy;
}

Result<FileDigests> finish(MultiHash hash) {
  const DigestSet set = TRY(std::move(hash).finish());
  FileDigests digests;
  std::ranges::copy(set[0].bytes(), digests.sha256.begin());
  std::ranges::copy(set[1].bytes(), digests.sha384.begin());
  return digests;
}

std::uint64_t copied_bytes(const FileStamp& stamp, const Fd& copy) {
  return copy.valid() ? stamp.size_bytes : 0;
}

}  // namespace

Result<std::unique_ptr<MeasuredFiles>> MeasuredFiles::create(EventLoop& loop,
                                                             const Limits& limits) {
  std::unique_ptr<MeasuredFiles> files(new MeasuredFiles(limits));
  files->worker_ = TRY(Worker::create(loop, "measurer"));
  return files;
}

Result<void> MeasuredFiles::measure(Fd file, Want want, Done done) {
  return worker_->run([this, file = std::move(file), want, done = std::move(done)]() mutable {
    return [answered = answer(file.get(), want), done = std::move(done)]() mutable {
      done(std::move(answered));
    };
  });
}

Result<MeasuredFile> MeasuredFiles::answer(int file, Want want) {
  TRY(check_access(file));
  TRY(check_kind(file));
  const FileStamp stamp = TRY(FileStamp::of(file));
  const auto found = std::ranges::find_if(entries_, [&](const Entry& entry) {
    return entry.stamp == stamp && (want == Want::kDigests || entry.copy.valid());
  });
  Entry entry;
  if (found != entries_.end()) {
    entry = std::move(*found);
    entries_.erase(found);
  } else {
    entry = TRY(read(file, want));
  }
  MeasuredFile answer{.digests = entry.digests, .copy = {}};
  if (want == Want::kCopy) answer.copy = TRY(entry.copy.duplicate());
  // What changes while it is read is measured as it was read, and not known again.
  if (!stamp.is_fresh() && entry.stamp == TRY(FileStamp::of(file))) keep(std::move(entry));
  return answer;
}

Result<MeasuredFiles::Entry> MeasuredFiles::read(int file, Want want) const {
  Entry entry{.stamp = TRY(FileStamp::of(file)), .digests = {}, .copy = {}};
  if (want == Want::kCopy) entry.copy = TRY(new_copy());
  MultiHash hash = TRY(MultiHash::create(kMeasuredBanks));
  std::uint64_t size_bytes = 0;
  TRY(read_through(file, [&](std::span<const std::byte> bytes) -> Result<void> {
    size_bytes += bytes.size();
    if (size_bytes > limits_.file_bytes) {
      return Error{Errc::kExhausted, 0, "the file is too long to be measured here"};
    }
    if (entry.copy.valid()) TRY(write_all(entry.copy.get(), bytes, "cannot copy the file"));
    return hash.update(bytes);
  }));
  entry.digests = TRY(finish(std::move(hash)));
  if (entry.copy.valid() && ::fcntl(entry.copy.get(), F_ADD_SEALS, kCopySeals) != 0) {
    return os_error("cannot seal a memory file");
  }
  log_info("measured", {{"bytes", size_bytes}});
  return entry;
}

// Another state of a file that is kept is of no use any more.
void MeasuredFiles::keep(Entry entry) {
  std::erase_if(entries_, [&](const Entry& other) {
    return other.stamp.device == entry.stamp.device && other.stamp.inode == entry.stamp.inode;
  });
  entries_.push_front(std::move(entry));
  while (entries_.size() > limits_.kept_files || kept_bytes() > limits_.kept_bytes) {
    entries_.pop_back();
  }
}

std::uint64_t MeasuredFiles::kept_bytes() const {
  std::uint64_t bytes = 0;
  for (const Entry& entry : entries_) bytes += copied_bytes(entry.stamp, entry.copy);
  return bytes;
}

}  // namespace bulkhead::daemon
