// SPDX-License-Identifier: Apache-2.0
#include "grant/grant_client.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <memory>
#include <string>
#include <string_view>

namespace bulkhead::guest {
namespace {

using namespace grant_device;

constexpr const char* kFunctions = "/sys/bus/pci/devices";

// The number in a file of sysfs, such as "0x1af4\n"; 0 where there is none.
std::uint32_t number_in(const std::string& path) {
  const Result<Fd> file = Fd::open(path.c_str(), O_RDONLY);
  std::array<char, 16> text{};
  if (!file || ::read(file->get(), text.data(), text.size()) < 3) return 0;
  std::uint32_t number = 0;
  std::from_chars(text.data() + 2, text.data() + text.size(), number, 16);
  return number;
}

bool is_grant_device(const std::string& function) {
  return number_in(function + "/vendor") == kVendorId &&
         number_in(function + "/device") == kDeviceId &&
         number_in(function + "/subsystem_vendor") == kSubsystemVendorId &&
         number_in(function + "/subsystem_device") == kSubsystemId;
}

Result<std::string> find_function() {
  const std::unique_ptr<DIR, int (*)(DIR*)> functions(::opendir(kFunctions), ::closedir);
  if (!functions) return os_error("cannot list the PCI functions");
  while (const dirent* entry = ::readdir(functions.get())) {
    const std::string function = std::string(kFunctions) + "/" + entry->d_name;
    if (entry->d_name[0] != '.' && is_grant_device(function)) return function;
  }
  return Error{Errc::kNotFound, 0, "this machine has no grant device"};
}

// Nobody else switches memory decoding on while the function has no driver.
Result<void> enable(const std::string& function) {
  const Fd file = TRY(Fd::open((function + "/enable").c_str(), O_WRONLY));
  if (::write(file.get(), "1", 1) != 1) return os_error("cannot enable the grant device");
  return {};
}

Error error_of(Status status) {
  switch (status) {
    case Status::kInvalid:
      return {Errc::kInvalidArgument, 0, "the device finds the request invalid"};
    case Status::kNotRam:
      return {Errc::kOutOfRange, 0, "the pages are not RAM"};
    case Status::kOverlap:
      return {Errc::kExists, 0, "some of the pages are granted to it already"};
    case Status::kFull:
      return {Errc::kExhausted, 0, "too many grants"};
    case Status::kNotFound:
      return {Errc::kNotFound, 0, "no such grant"};
    case Status::kRefused:
      return {Errc::kPermission, 0,
              "the host shares with its own tools alone, and no memory that can be unplugged"};
    default:
      return {Errc::kIo, 0, "the host could not do it"};
  }
}

}  // namespace

Result<GrantClient> GrantClient::open() {
  const std::string function = TRY(find_function());
  Fd file = TRY(Fd::open((function + "/resource0").c_str(), O_RDWR));
  if (::flock(file.get(), LOCK_EX) != 0) return os_error("cannot lock the grant device");
  TRY(enable(function));
  Mapping registers = TRY(Mapping::create({.size_bytes = kBarBytes,
                                           .protection = PROT_READ | PROT_WRITE,
                                           .flags = MAP_SHARED,
                                           .fd = file.get()}));
  GrantClient client(std::move(file), std::move(registers));
  if (client.read<std::uint64_t>(kMagicRegister) != kMagic ||
      client.read<std::uint32_t>(kVersionRegister) != kVersion) {
    return Error{Errc::kUnsupported, 0, "the device is no grant device of this version"};
  }
  return client;
}

Result<GrantHandle> GrantClient::grant(const Grant& grant) {
  write(kFirstRegister, grant.first.value());
  write(kPagesRegister, grant.pages);
  write(kGranteeRegister, static_cast<std::uint32_t>(grant.grantee));
  write(kRightsRegister,
        (grant.rights.read ? kRightRead : 0) | (grant.rights.write ? kRightWrite : 0));
  TRY(run(Command::kGrant));
  return GrantHandle{read<std::uint32_t>(kHandleRegister)};
}

Result<void> GrantClient::revoke(GrantHandle handle) {
  write(kHandleRegister, static_cast<std::uint32_t>(handle));
  return run(Command::kRevoke);
}

Result<void> GrantClient::revoke_all() {
  return run(Command::kRevokeAll);
}

Result<void> GrantClient::run(Command command) {
  write(kCommandRegister, static_cast<std::uint32_t>(command));
  const Status status{read<std::uint32_t>(kStatusRegister)};
  if (status != Status::kOk) return error_of(status);
  return {};
}

// Registers: each access is one instruction, in the order of the program.
template <class T>
T GrantClient::read(std::uint64_t offset) const {
  return *reinterpret_cast<const volatile T*>(registers_.data() + offset);
}
template <class T>
void GrantClient::write(std::uint64_t offset, T value) {
  *reinterpret_cast<volatile T*>(registers_.data() + offset) = value;
}

}  // namespace bulkhead::guest
