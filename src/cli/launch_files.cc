// SPDX-License-Identifier: Apache-2.0
#include "cli/launch_files.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

#include "boot/kernel_image.h"
#include "boot/unpack/kernel_cache.h"
#include "cli/error.h"

namespace bulkhead::cli {
namespace {

constexpr std::uint64_t kSectorBytes = 512;  // virtio 1.2 §5.2.4: the unit of a disk's capacity

std::string quoted(const std::string& path) {
  return "'" + path + "'";
}

std::string size_text(std::uint64_t bytes) {
  return std::to_string((bytes + kMiB - 1) / kMiB) + " MiB";
}

// What a user can do about a file that does not open.
std::string open_advice(int error_number) {
  switch (error_number) {
    case ENOENT:
      return "check the path";
    case EACCES:
    case EPERM:
      return "give your user access to it";
    case EROFS:
      return "open it read-only with ,ro";
    case EBUSY:
      return "it is mounted or in use: unmount it first";
    default:
      return "check the file";
  }
}

// O_NONBLOCK: opening a FIFO must not wait for its other end.
Fd open_file(const std::string& what, const std::string& path, int flags) {
  auto fd = Fd::open(path.c_str(), flags | O_NONBLOCK);
  if (fd) return std::move(*fd);
  const int error_number = fd.error().os_errno;
  throw UsageError(what + " " + quoted(path) + ": " + errno_text(error_number) + "; " +
                   open_advice(error_number));
}

struct stat status_of(const Fd& fd) {
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) throw HostError("cannot stat a file: " + errno_text(errno));
  return status;
}

Fd open_regular(const std::string& what, const std::string& path) {
  Fd fd = open_file(what, path, O_RDONLY);
  const struct stat status = status_of(fd);
  if (!S_ISREG(status.st_mode)) {
    throw UsageError(what + " " + quoted(path) + " is not a regular file; check the path");
  }
  if (status.st_size == 0) {
    throw UsageError(what + " " + quoted(path) + " is empty; check where it came from");
  }
  return fd;
}

KernelKind kind_of(boot::KernelImage::Kind kind) {
  switch (kind) {
    case boot::KernelImage::Kind::kBzImage:
      return KernelKind::kBzImage;
    case boot::KernelImage::Kind::kElf:
      return KernelKind::kElfPvh;
    case boot::KernelImage::Kind::kUnpacked:
      return KernelKind::kUnpacked;
  }
  throw HostError("a kernel of a kind that does not exist");
}

OpenedKernel probe(Fd fd, const std::string& path) {
  auto image = boot::KernelImage::probe(fd.get());
  if (!image) {
    throw UsageError("kernel " + quoted(path) + ": " + image.error().what +
                     "; name a bzImage (like /boot/vmlinuz-*) or an ELF vmlinux");
  }
  return {std::move(fd), kind_of(image->kind()), image->needed_bytes()};
}

std::uint64_t disk_bytes(const Fd& fd, const std::string& path) {
  const struct stat status = status_of(fd);
  if (S_ISREG(status.st_mode)) return static_cast<std::uint64_t>(status.st_size);
  std::uint64_t bytes = 0;
  if (S_ISBLK(status.st_mode) && ::ioctl(fd.get(), BLKGETSIZE64, &bytes) == 0) return bytes;
  throw UsageError("disk " + quoted(path) +
                   " is not a regular file or a block device; name an image");
}

struct ImageFormat {
  std::string_view magic;
  const char* name;
};

// Formats that would be given to the guest byte by byte if nobody looked.
constexpr std::array<ImageFormat, 5> kForeignFormats{{
    {{"QFI\xfb", 4}, "qcow2"},
    {{"KDMV", 4}, "vmdk"},
    {{"vhdxfile", 8}, "vhdx"},
    {{"conectix", 8}, "vpc"},
    {{"QED\0", 4}, "qed"},
}};

void check_raw(const Fd& fd, const std::string& path) {
  char head[8] = {};
  const ssize_t got = ::pread(fd.get(), head, sizeof head, 0);
  if (got < 0) throw UsageError("disk " + quoted(path) + ": " + errno_text(errno));
  const std::string_view start(head, static_cast<std::size_t>(got));
  for (const ImageFormat& format : kForeignFormats) {
    if (!start.starts_with(format.magic)) continue;
    throw UsageError("disk " + quoted(path) + " is a " + format.name +
                     " image, only raw ones are supported; convert it: qemu-img convert -O raw " +
                     quoted(path) + " " + quoted(path + ".raw"));
  }
}

void check_size(std::uint64_t bytes, const std::string& path) {
  if (bytes == 0) {
    throw UsageError("disk " + quoted(path) + " is empty; give it a size: truncate -s 10G " +
                     quoted(path));
  }
  if (bytes % kSectorBytes != 0) {
    throw UsageError("disk " + quoted(path) + " is " + std::to_string(bytes) +
                     " bytes long, not a multiple of 512; pad it: truncate -s %512 " +
                     quoted(path));
  }
}

// An open file description lock travels with the descriptor into the monitor, and ends with it.
void lock_disk(const Fd& fd, const DiskRequest& request) {
  struct flock whole{};
  whole.l_type = request.read_only ? F_RDLCK : F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (::fcntl(fd.get(), F_OFD_SETLK, &whole) == 0) return;
  if (errno != EAGAIN && errno != EACCES) {
    throw UsageError("disk " + quoted(request.path) + " cannot be locked: " + errno_text(errno) +
                     "; move it to a file system with locks");
  }
  throw UsageError("disk " + quoted(request.path) + " is in use by another partition, or given " +
                   "twice; " +
                   (request.read_only ? "its user must open it with ,ro, too"
                                      : "copy it, or share it with ,ro everywhere"));
}

std::optional<std::uint64_t> meminfo(const std::string& key) {
  std::ifstream file("/proc/meminfo");
  std::string name;
  std::uint64_t value = 0;
  while (file >> name >> value) {
    if (name == key + ":") return value;
    file.ignore(80, '\n');
  }
  return std::nullopt;
}

void check_hugepages(std::uint64_t memory_bytes) {
  const std::uint64_t page_bytes = meminfo("Hugepagesize").value_or(2048) * kKiB;
  const std::uint64_t free_pages = meminfo("HugePages_Free").value_or(0);
  const std::uint64_t needed = (memory_bytes + page_bytes - 1) / page_bytes;
  if (free_pages >= needed) return;
  throw UsageError("--backing hugetlb needs " + std::to_string(needed) +
                   " free huge pages, there are " + std::to_string(free_pages) +
                   "; reserve more: sudo sysctl vm.nr_hugepages=" +
                   std::to_string(meminfo("HugePages_Total").value_or(0) + needed - free_pages));
}

// Whether somebody listens at the address.
bool answers(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size());
  const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.valid()) return false;
  const auto* generic = static_cast<const sockaddr*>(static_cast<const void*>(&address));
  return ::connect(probe.get(), generic, sizeof address) == 0 || errno == EAGAIN;
}

}  // namespace

OpenedKernel open_kernel(const std::string& path, bool unpack) {
  OpenedKernel kernel = probe(open_regular("kernel", path), path);
  if (kernel.kind != KernelKind::kBzImage || !unpack) return kernel;
  auto unpacked = boot::unpack_cached(kernel.fd.get(), {});
  if (unpacked) return probe(std::move(*unpacked), path);
  // Packed, it would only stop without a word in its own decompressor.
  if (unpacked.error().code == Errc::kMalformed || unpacked.error().code == Errc::kTruncated) {
    throw UsageError("kernel " + quoted(path) + ": " + unpacked.error().what +
                     "; check where it came from, or start it packed: --unpack never");
  }
  print_error("kernel " + quoted(path) + " is started packed, which is slower: " +
              unpacked.error().what + " (--unpack never says nothing)");
  return kernel;
}

Fd open_initrd(const std::string& path, std::uint64_t kernel_bytes, std::uint64_t memory_bytes) {
  Fd fd = open_regular("initrd", path);
  const auto bytes = static_cast<std::uint64_t>(status_of(fd).st_size);
  if (kernel_bytes < memory_bytes && bytes <= memory_bytes - kernel_bytes) return fd;
  throw UsageError("initrd " + quoted(path) + " (" + size_text(bytes) + ") and the kernel (" +
                   size_text(kernel_bytes) + ") do not fit into " + size_text(memory_bytes) +
                   " of memory; raise --memory");
}

Fd open_disk(const DiskRequest& request) {
  // O_EXCL makes the kernel refuse a block device that is mounted (open(2)).
  std::error_code ignored;
  const bool block = std::filesystem::is_block_file(request.path, ignored);
  const int flags = request.read_only ? O_RDONLY : O_RDWR | (block ? O_EXCL : 0);
  Fd fd = open_file("disk", request.path, flags);
  const std::uint64_t bytes = disk_bytes(fd, request.path);
  check_raw(fd, request.path);
  check_size(bytes, request.path);
  lock_disk(fd, request);
  return fd;
}

// The monitor reads it anew and checks all of that again; here the user learns it at once.
Fd open_key_file(const std::string& path) {
  Fd fd = open_file("key file", path, O_RDONLY | O_NOFOLLOW);
  const struct stat status = status_of(fd);
  if (!S_ISREG(status.st_mode)) throw UsageError("key file " + quoted(path) + " is no file");
  if ((status.st_mode & 077) != 0) {
    throw UsageError("key file " + quoted(path) + " can be read by others; chmod 600 it, and " +
                     "make a new key if somebody may have: bulkhead key create");
  }
  return fd;
}

Fd open_sealed_file(const std::string& directory) {
  const int fd = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0) return Fd(fd);
  throw UsageError("--sealed-dir " + quoted(directory) + ": no file without a name there: " +
                   errno_text(errno) + "; name a directory of yours on ext4, xfs, btrfs or tmpfs");
}

Fd open_tpm_file(const std::string& what, const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  if (!fd.valid()) {
    throw UsageError(what + " " + quoted(path) + ": " + errno_text(errno) +
                     "; name a file in a directory of yours");
  }
  if (!S_ISREG(status_of(fd).st_mode)) throw UsageError(what + " " + quoted(path) + " is no file");
  return fd;
}

void check_memory(std::uint64_t memory_bytes, MemoryBacking backing) {
  if (backing == MemoryBacking::kHugetlb) return check_hugepages(memory_bytes);
  const std::uint64_t host = meminfo("MemTotal").value_or(0) * kKiB;
  if (memory_bytes < host || host == 0) return;
  throw UsageError("--memory " + size_text(memory_bytes) + " is more than the host has (" +
                   size_text(host) + "); lower --memory");
}

void check_vsock(const VsockSpec& vsock) {
  const std::filesystem::path path(vsock.socket_path);
  struct stat status{};
  if (::access(path.parent_path().c_str(), W_OK | X_OK) != 0) {
    throw UsageError("--vsock " + quoted(path) + ": no socket can be created there: " +
                     errno_text(errno) + "; name a directory of yours");
  }
  if (::lstat(path.c_str(), &status) != 0) return;
  if (!S_ISSOCK(status.st_mode) || answers(vsock.socket_path)) {
    throw UsageError("--vsock " + quoted(path) + " exists and is in use; choose another path");
  }
  ::unlink(path.c_str());  // a dead partition's
}

void check_kvm() {
  auto kvm = Fd::open("/dev/kvm", O_RDWR);
  if (kvm) {
    const bool hardware =
        ::access("/sys/module/kvm_intel", F_OK) == 0 || ::access("/sys/module/kvm_amd", F_OK) == 0;
    if (!hardware) {
      print_error(
          "no VT-x or AMD-V is behind this /dev/kvm: stock guests fail or crawl; see "
          "'bulkhead doctor', or use the lab: bulkhead lab run -- COMMAND");
    }
    return;
  }
  switch (kvm.error().os_errno) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      throw HostError(
          "this machine has no usable /dev/kvm; see 'bulkhead doctor', or use the lab: " +
          std::string("bulkhead lab run -- COMMAND"));
    case EACCES:
    case EPERM:
      throw HostError(
          "no permission for /dev/kvm; join its group: sudo adduser $USER kvm, and log " +
          std::string("in again"));
    default:
      throw HostError("cannot open /dev/kvm: " + errno_text(kvm.error().os_errno) +
                      "; see 'bulkhead doctor'");
  }
}

}  // namespace bulkhead::cli
