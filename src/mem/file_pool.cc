// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "base/mapping.h"
#include "mem/frame_pool.h"
#include "mem/numa.h"
#include "mem/scrub.h"

// A run's file is called "FIRST-FRAMES", in decimal, and holds the run from offset 0.
//
// A file on tmpfs or hugetlbfs cannot be sealed as a memfd can, so somebody might truncate one
// under a process that maps it, whose next access then ends in SIGBUS. Who could: root, since
// nobody else passes the directory (0700), and whoever holds the run's descriptor, which is the
// run's owner alone. An owner that truncates its own RAM hurts itself; scrubbing survives it
// (mem/scrub.h). An owner that makes its file longer takes free frames, and with them nobody
// else's: the memory of every run is there from the start.

namespace bulkhead {
namespace {

constexpr unsigned long kMountFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
constexpr std::uint64_t kMaxFrames = std::uint64_t{1} << 28;  // 512 TiB

std::string file_name(const FrameRun& run) {
  return std::to_string(run.first.value()) + "-" + std::to_string(run.frames);
}

// Only what file_name() writes.
std::optional<FrameRun> parse_file_name(std::string_view name) {
  std::uint64_t first = 0;
  std::uint64_t frames = 0;
  const char* end = name.data() + name.size();
  const auto one = std::from_chars(name.data(), end, first);
  if (one.ec != std::errc() || one.ptr == end || *one.ptr != '-') return std::nullopt;
  if (std::from_chars(one.ptr + 1, end, frames).ec != std::errc()) return std::nullopt;
  const FrameRun run{FrameIndex(first), frames};
  if (file_name(run) != name) return std::nullopt;
  return run;
}

Result<void> check_owner(const Fd& directory) {
  struct stat status{};
  if (::fstat(directory.get(), &status) != 0) return os_error("cannot look at the frame pool");
  if (status.st_uid != ::geteuid() || (status.st_mode & 077) != 0) {
    return Error{Errc::kPermission, 0,
                 "the frame pool's directory must be the daemon's own, with mode 0700"};
  }
  return {};
}

Result<bool> is_mount_point(const Fd& directory) {
  struct stat here{};
  struct stat above{};
  if (::fstat(directory.get(), &here) != 0 || ::fstatat(directory.get(), "..", &above, 0) != 0) {
    return os_error("cannot look at the frame pool");
  }
  return here.st_dev != above.st_dev;
}

// Huge pages where files ask for whole ones; never to swap, where scrubbing does not reach. Older
// kernels lack one or both.
Result<void> mount_tmpfs(const FilePoolOptions& options) {
  const std::string size =
      "mode=0700,size=" + std::to_string(options.frames * (kFrameSize / kKiB)) + "k";
  for (const char* more : {",huge=within_size,noswap", ",huge=within_size", ",noswap", ""}) {
    const std::string data = size + more;
    if (::mount("bulkhead-pool", options.directory.c_str(), "tmpfs", kMountFlags, data.c_str()) ==
        0) {
      return {};
    }
    if (errno != EINVAL) break;
  }
  return os_error("cannot mount a tmpfs for the frame pool");
}

Result<void> mount_pool(const FilePoolOptions& options) {
  if (options.backing == Backing::kMemfd) return mount_tmpfs(options);
  if (::mount("bulkhead-pool", options.directory.c_str(), "hugetlbfs", kMountFlags,
              "mode=0700,pagesize=2M") != 0) {
    return os_error("cannot mount a hugetlbfs of 2 MiB pages for the frame pool");
  }
  return {};
}

Result<void> check_file_system(const FilePoolOptions& options, const Fd& directory) {
  struct statfs status{};
  if (::fstatfs(directory.get(), &status) != 0) return os_error("cannot look at the frame pool");
  const bool huge = options.backing == Backing::kHugetlb;
  const auto type = static_cast<std::uint64_t>(status.f_type);
  if (huge ? type == HUGETLBFS_MAGIC && static_cast<std::uint64_t>(status.f_bsize) == kFrameSize
           : type == TMPFS_MAGIC) {
    return {};
  }
  return Error{Errc::kInvalidArgument, 0,
               "something else is mounted on the frame pool's directory: unmount it"};
}

// What was mounted before a restart may have had another size.
Result<void> resize_tmpfs(const FilePoolOptions& options) {
  const std::string size = "size=" + std::to_string(options.frames * (kFrameSize / kKiB)) + "k";
  if (::mount("bulkhead-pool", options.directory.c_str(), nullptr, kMountFlags | MS_REMOUNT,
              size.c_str()) != 0) {
    return os_error("cannot give the frame pool its size: does it hold more than that?");
  }
  return {};
}

Result<Fd> open_directory(const FilePoolOptions& options) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  const char* path = options.directory.c_str();
  if (::mkdir(path, 0700) != 0 && errno != EEXIST) {
    return os_error("cannot make the frame pool's directory");
  }
  Fd directory = TRY(Fd::open(path, kFlags));
  TRY(check_owner(directory));
  if (!TRY(is_mount_point(directory))) {
    TRY(mount_pool(options));
  } else if (options.backing == Backing::kMemfd) {
    TRY(check_file_system(options, directory));
    TRY(resize_tmpfs(options));
  }
  directory = TRY(Fd::open(path, kFlags));  // now of what is mounted there
  TRY(check_owner(directory));
  TRY(check_file_system(options, directory));
  return directory;
}

Error too_few_huge_pages(int error_number) {
  return Error{Errc::kExhausted, error_number,
               "too few free 2 MiB pages for a run of frames: raise vm.nr_hugepages"};
}

struct DirectoryCloser {
  void operator()(DIR* stream) const { ::closedir(stream); }
};

class FilePool final : public FramePool {
 public:
  FilePool(const FilePoolOptions& options, Fd directory)
      : FramePool(options.frames, options.numa_node),
        backing_(options.backing),
        directory_(std::move(directory)) {}

  Backing backing() const override { return backing_; }
  bool starts_unscrubbed() const override { return false; }

  Result<Extent> open_extent(FrameRun run, Open open) override {
    TRY(check(run));
    Fd file = TRY(open == Open::kNew ? create_file(run) : open_whole_file(run));
    return Extent{
        .first = run.first, .frames = run.frames, .backing = backing_, .file = std::move(file)};
  }

  Result<void> scrub(FrameRun run) override {
    TRY(check(run));
    const Fd file = TRY(open_file(run));
    return scrub_file({.file = file.get(), .backing = backing_, .size_bytes = run.size_bytes()});
  }

  Result<void> remove(FrameRun run) override {
    TRY(check(run));
    if (::unlinkat(directory_.get(), file_name(run).c_str(), 0) != 0) {
      return os_error("cannot remove a file of the frame pool");
    }
    return {};
  }

  Result<std::vector<FrameRun>> existing() const override;
  Result<bool> held(FrameRun run) const override;

 private:
  Result<Fd> open_file(const FrameRun& run) const;
  Result<Fd> open_whole_file(const FrameRun& run) const;
  Result<Fd> create_file(const FrameRun& run) const;
  Result<void> allocate(const Fd& file, const FrameRun& run) const;

  const Backing backing_;
  const Fd directory_;
};

Result<Fd> FilePool::open_file(const FrameRun& run) const {
  Fd file(::openat(directory_.get(), file_name(run).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid()) return os_error("cannot open a file of the frame pool");
  return file;
}

Result<Fd> FilePool::open_whole_file(const FrameRun& run) const {
  Fd file = TRY(open_file(run));
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return os_error("cannot look at a file of the frame pool");
  if (static_cast<std::uint64_t>(status.st_size) < run.size_bytes()) {
    return Error{Errc::kMalformed, 0, "a file of the frame pool was truncated"};
  }
  return file;
}

// All of the run's memory, before anybody relies on it. It stays the file's when the mapping is
// gone.
Result<void> FilePool::allocate(const Fd& file, const FrameRun& run) const {
  const Result<Mapping> mapping = Mapping::create({.size_bytes = run.size_bytes(),
                                                   .protection = PROT_READ | PROT_WRITE,
                                                   .flags = MAP_SHARED,
                                                   .fd = file.get()});
  if (!mapping && backing_ == Backing::kMemfd) return mapping.error();
  if (!mapping) return too_few_huge_pages(mapping.error().os_errno);
  if (numa_node()) TRY(bind_to_node(*mapping, *numa_node()));
  if (backing_ == Backing::kMemfd) {
    if (::fallocate(file.get(), 0, 0, static_cast<off_t>(run.size_bytes())) == 0) return {};
    return os_error("cannot allocate memory for a run of frames");
  }
  // The mapping reserved huge pages. Only those of one node must exist before it goes.
  if (numa_node() && ::madvise(mapping->data(), mapping->size(), MADV_POPULATE_WRITE) != 0) {
    return too_few_huge_pages(errno);
  }
  return {};
}

// The file gets its name when it is complete, so that a crash leaves none that is not.
Result<Fd> FilePool::create_file(const FrameRun& run) const {
  for (const FrameRun& other : TRY(existing())) {
    if (run.overlaps(other)) return Error{Errc::kExists, 0, "these frames have a file already"};
  }
  Fd file(::openat(directory_.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!file.valid()) return os_error("cannot make a file in the frame pool");
  if (::ftruncate(file.get(), static_cast<off_t>(run.size_bytes())) != 0) {
    return os_error("cannot size a file of the frame pool");
  }
  TRY(allocate(file, run));
  std::array<char, 32> path{};
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", file.get());
  if (::linkat(AT_FDCWD, path.data(), directory_.get(), file_name(run).c_str(),
               AT_SYMLINK_FOLLOW) != 0) {
    return os_error("cannot name a file of the frame pool");
  }
  return file;
}

Result<std::vector<FrameRun>> FilePool::existing() const {
  Fd copy(::openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const std::unique_ptr<DIR, DirectoryCloser> stream(::fdopendir(copy.get()));
  if (stream == nullptr) return os_error("cannot list the frame pool");
  copy.release();
  std::vector<FrameRun> runs;
  errno = 0;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    const std::optional<FrameRun> run = parse_file_name(name);
    if (!run || !check(*run)) {
      return Error{Errc::kMalformed, 0, "a file in the frame pool is no run of its frames"};
    }
    runs.push_back(*run);
  }
  if (errno != 0) return os_error("cannot list the frame pool");
  std::sort(runs.begin(), runs.end(),
            [](const FrameRun& a, const FrameRun& b) { return a.first < b.first; });
  const auto overlap = std::adjacent_find(
      runs.begin(), runs.end(), [](const FrameRun& a, const FrameRun& b) { return a.overlaps(b); });
  if (overlap == runs.end()) return runs;
  return Error{Errc::kMalformed, 0, "two files of the frame pool overlap"};
}

// The kernel grants a write lease on a file that nobody else has open; a mapping keeps it open.
Result<bool> FilePool::held(FrameRun run) const {
  TRY(check(run));
  const Fd file = TRY(open_file(run));
  if (::fcntl(file.get(), F_SETLEASE, F_WRLCK) == 0) {
    ::fcntl(file.get(), F_SETLEASE, F_UNLCK);
    return false;
  }
  if (errno == EAGAIN) return true;
  return os_error("cannot find out whether frames are in use");
}

}  // namespace

Result<std::unique_ptr<FramePool>> create_file_pool(const FilePoolOptions& options) {
  if (options.frames == 0 || options.frames > kMaxFrames || options.directory.empty() ||
      options.directory.front() != '/' || options.backing == Backing::kCarved) {
    return Error{Errc::kInvalidArgument, 0,
                 "a frame pool needs a directory, and a size of at most 512 TiB"};
  }
  if (options.numa_node) TRY(check_node(*options.numa_node));
  return std::unique_ptr<FramePool>(
      std::make_unique<FilePool>(options, TRY(open_directory(options))));
}

}  // namespace bulkhead
