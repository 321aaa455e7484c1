// SPDX-License-Identifier: Apache-2.0
#include "mem/userfault.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/mapping.h"

// Newer than Debian 12's headers (Linux 6.1): include/uapi/linux/userfaultfd.h.
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)  // Linux 6.1
#endif
#ifndef UFFDIO_CONTINUE_MODE_WP
#define UFFDIO_CONTINUE_MODE_WP (std::uint64_t{1} << 1)  // Linux 6.4
#endif

namespace bulkhead {
namespace {

constexpr std::uint64_t kNeeded = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM;
constexpr std::uint64_t kWriteProtect =
    UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM;
constexpr std::size_t kBatch = 8;
// The kernel asks to try again while the address space changes; that passes.
constexpr int kAttempts = 1000;

uffdio_range to_range(HostRun run) {
  return {run.start.value(), run.size_bytes};
}

// /dev/userfaultfd first: its file mode decides who may, where the system call asks for
// CAP_SYS_PTRACE to take faults of the kernel, which KVM's are.
Result<Fd> open_one() {
  const Result<Fd> device = Fd::open("/dev/userfaultfd", O_RDWR);
  constexpr int kFlags = O_CLOEXEC | O_NONBLOCK;
  if (device) {
    const int number = ::ioctl(device->get(), USERFAULTFD_IOC_NEW, kFlags);
    if (number >= 0) return Fd(number);
  }
  const auto number = static_cast<int>(::syscall(SYS_userfaultfd, kFlags));
  if (number >= 0) return Fd(number);
  if (errno == ENOSYS) {
    return os_error("cold memory needs userfaultfd, which this kernel lacks (CONFIG_USERFAULTFD)");
  }
  return os_error(
      "cold memory needs /dev/userfaultfd: let this user open it (a udev rule, for instance for "
      "group kvm), or set vm.unprivileged_userfaultfd=1");
}

// A handshake fixes a descriptor's features, and tells what there is: a second one follows it.
Result<std::uint64_t> shake_hands(const Fd& file, std::uint64_t features) {
  uffdio_api api{.api = UFFD_API, .features = features, .ioctls = 0};
  if (::ioctl(file.get(), UFFDIO_API, &api) != 0) return os_error("userfaultfd refuses");
  return api.features;
}

UserFault::Outcome outcome_of_errno() {
  if (errno == EEXIST) return UserFault::Outcome::kPresent;
  return errno == EFAULT ? UserFault::Outcome::kAbsent : UserFault::Outcome::kFailed;
}

}  // namespace

Result<UserFault> UserFault::create() {
  const std::uint64_t offered = TRY(shake_hands(TRY(open_one()), 0));
  if ((offered & kNeeded) != kNeeded) {
    return Error{Errc::kUnsupported, 0, "cold memory needs Linux 5.14 (minor faults of shmem)"};
  }
  UserFault fault(TRY(open_one()));
  TRY(shake_hands(fault.file_, kNeeded | (offered & kWriteProtect)));
  fault.watches_writes_ = (offered & kWriteProtect) == kWriteProtect;
  fault.protects_ = fault.watches_writes_ && TRY(fault.probe_protection());
  return fault;
}

// No feature bit tells of UFFDIO_CONTINUE_MODE_WP: tries it on a page of our own.
Result<bool> UserFault::probe_protection() const {
  const Fd file(::memfd_create("bulkhead-probe", MFD_CLOEXEC));
  if (!file.valid() || ::ftruncate(file.get(), kPageSize) != 0 ||
      ::pwrite(file.get(), "", 1, 0) != 1) {
    return os_error("cannot create a memory file");
  }
  const Mapping page = TRY(Mapping::create({.size_bytes = kPageSize,
                                            .protection = PROT_READ | PROT_WRITE,
                                            .flags = MAP_SHARED,
                                            .fd = file.get()}));
  TRY(watch({page.host(), kPageSize}));
  return map(page.host(), Access::kProtected) == Outcome::kDone;
}

Result<void> UserFault::watch(HostRun run) const {
  uffdio_register request{};
  request.range = to_range(run);
  request.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR;
  if (watches_writes_) request.mode |= UFFDIO_REGISTER_MODE_WP;
  if (::ioctl(file_.get(), UFFDIO_REGISTER, &request) != 0) {
    return os_error("userfaultfd refuses this memory");
  }
  return {};
}

void UserFault::unwatch(HostRun run) const {
  uffdio_range range = to_range(run);
  ::ioctl(file_.get(), UFFDIO_UNREGISTER, &range);
}

std::size_t UserFault::take(std::span<PageFault> out) const {
  std::array<uffd_msg, kBatch> messages;
  const std::size_t wanted = std::min(out.size(), kBatch) * sizeof(uffd_msg);
  const ssize_t size = ::read(file_.get(), messages.data(), wanted);
  if (size <= 0) return 0;
  std::size_t count = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(size) / sizeof(uffd_msg); ++i) {
    if (messages[i].event != UFFD_EVENT_PAGEFAULT) continue;
    const auto& fault = messages[i].arg.pagefault;
    constexpr std::uint64_t kWrites = UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP;
    out[count++] = {Hva(align_down(fault.address, kPageSize)), (fault.flags & kWrites) != 0};
  }
  return count;
}

UserFault::Outcome UserFault::copy(HostRun to, Hva from, Access access,
                                   std::uint64_t& copied_bytes) const {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    uffdio_copy request{};
    request.dst = to.start.value() + copied_bytes;
    request.src = from.value() + copied_bytes;
    request.len = to.size_bytes - copied_bytes;
    request.mode = access == Access::kProtected ? UFFDIO_COPY_MODE_WP : 0;
    const int result = ::ioctl(file_.get(), UFFDIO_COPY, &request);
    const int error = errno;
    if (request.copy > 0) copied_bytes += static_cast<std::uint64_t>(request.copy);
    if (result == 0) return Outcome::kDone;
    errno = error;
    if (error != EAGAIN) break;
  }
  return outcome_of_errno();
}

UserFault::Outcome UserFault::zero(Hva page) const {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    uffdio_zeropage request{};
    request.range = {page.value(), kPageSize};
    if (::ioctl(file_.get(), UFFDIO_ZEROPAGE, &request) == 0) return Outcome::kDone;
    if (errno != EAGAIN) break;
  }
  return outcome_of_errno();
}

UserFault::Outcome UserFault::map(Hva page, Access access) const {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    uffdio_continue request{};
    request.range = {page.value(), kPageSize};
    request.mode = access == Access::kProtected ? UFFDIO_CONTINUE_MODE_WP : 0;
    if (::ioctl(file_.get(), UFFDIO_CONTINUE, &request) == 0) return Outcome::kDone;
    if (errno != EAGAIN) break;
  }
  return outcome_of_errno();
}

void UserFault::unprotect(Hva page) const {
  if (!watches_writes_) return;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    uffdio_writeprotect request{};
    request.range = {page.value(), kPageSize};
    if (::ioctl(file_.get(), UFFDIO_WRITEPROTECT, &request) == 0 || errno != EAGAIN) return;
  }
}

void UserFault::wake(HostRun run) const {
  uffdio_range range = to_range(run);
  ::ioctl(file_.get(), UFFDIO_WAKE, &range);
}

}  // namespace bulkhead
