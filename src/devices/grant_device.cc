// SPDX-License-Identifier: Apache-2.0
#include "devices/grant_device.h"

#include <algorithm>

#include "base/byte_reader.h"

namespace bulkhead {
namespace {

using namespace grant_device;

constexpr std::uint32_t kStateVersion = 1;
constexpr std::uint64_t kCell = sizeof(std::uint32_t);

constexpr PciIdentity kIdentity = {
    .vendor = kVendorId,
    .device = kDeviceId,
    .subsystem_vendor = kSubsystemVendorId,
    .subsystem = kSubsystemId,
    .class_code = 0x088000,  // another system peripheral
    .revision = kVersion,
};

bool well_formed(std::uint64_t offset, std::size_t size) {
  return (size == 4 || size == 8) && offset % size == 0;
}

std::uint32_t low(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}
std::uint32_t high(std::uint64_t value) {
  return static_cast<std::uint32_t>(value >> 32);
}
std::uint64_t with_low(std::uint64_t value, std::uint32_t part) {
  return std::uint64_t{high(value)} << 32 | part;
}
std::uint64_t with_high(std::uint64_t value, std::uint32_t part) {
  return std::uint64_t{part} << 32 | low(value);
}

Status status_of(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument:
      return Status::kInvalid;
    case Errc::kOutOfRange:
      return Status::kNotRam;
    case Errc::kExists:
      return Status::kOverlap;
    case Errc::kExhausted:
      return Status::kFull;
    case Errc::kNotFound:
      return Status::kNotFound;
    case Errc::kPermission:
      return Status::kRefused;
    default:
      return Status::kFailed;
  }
}

}  // namespace

void GrantRegisters::read(std::uint64_t offset, std::span<std::byte> bytes) {
  std::ranges::fill(bytes, std::byte{0});
  if (!well_formed(offset, bytes.size())) return;
  MutexLock lock(mutex_);
  for (std::uint64_t done = 0; done < bytes.size(); done += kCell) {
    put_le(bytes, done, read_cell(offset + done));
  }
}

void GrantRegisters::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (!well_formed(offset, bytes.size())) return;
  MutexLock lock(mutex_);
  for (std::uint64_t done = 0; done < bytes.size(); done += kCell) {
    write_cell(offset + done, get_le<std::uint32_t>(bytes, done));
  }
}

std::uint32_t GrantRegisters::read_cell(std::uint64_t offset) const {
  switch (offset) {
    case kMagicRegister:
      return low(kMagic);
    case kMagicRegister + kCell:
      return high(kMagic);
    case kVersionRegister:
      return kVersion;
    case kCountRegister:
      return static_cast<std::uint32_t>(keeper_.count());
    case kFirstRegister:
      return low(file_.first);
    case kFirstRegister + kCell:
      return high(file_.first);
    case kPagesRegister:
      return low(file_.pages);
    case kPagesRegister + kCell:
      return high(file_.pages);
    case kGranteeRegister:
      return file_.grantee;
    case kRightsRegister:
      return file_.rights;
    case kHandleRegister:
      return file_.handle;
    case kStatusRegister:
      return static_cast<std::uint32_t>(file_.status);
    default:
      return 0;
  }
}

void GrantRegisters::write_cell(std::uint64_t offset, std::uint32_t value) {
  switch (offset) {
    case kFirstRegister:
      file_.first = with_low(file_.first, value);
      break;
    case kFirstRegister + kCell:
      file_.first = with_high(file_.first, value);
      break;
    case kPagesRegister:
      file_.pages = with_low(file_.pages, value);
      break;
    case kPagesRegister + kCell:
      file_.pages = with_high(file_.pages, value);
      break;
    case kGranteeRegister:
      file_.grantee = value;
      break;
    case kRightsRegister:
      file_.rights = value;
      break;
    case kHandleRegister:
      file_.handle = value;
      break;
    case kCommandRegister:
      file_.status = run(Command{value});
      break;
    default:
      break;
  }
}

GrantRegisters::Status GrantRegisters::run(Command command) {
  switch (command) {
    case Command::kGrant:
      return grant();
    case Command::kRevoke:
      return revoke();
    case Command::kRevokeAll:
      keeper_.revoke_all();
      note("grants_revoked");
      return Status::kOk;
    case Command::kQuery:
      return query();
  }
  return Status::kInvalid;
}

GrantRegisters::Status GrantRegisters::grant() {
  file_.handle = static_cast<std::uint32_t>(GrantHandle::kNone);
  if ((file_.rights & ~(kRightRead | kRightWrite)) != 0) return Status::kInvalid;
  const Result<GrantHandle> handle = keeper_.grant(
      {.first = Gfn(file_.first),
       .pages = file_.pages,
       .grantee = GranteeId{file_.grantee},
       .rights = {(file_.rights & kRightRead) != 0, (file_.rights & kRightWrite) != 0}});
  if (!handle) {
    if (limiter_.allow()) {
      log_warning("grant_refused", {{"first", file_.first},
                                    {"pages", file_.pages},
                                    {"grantee", file_.grantee},
                                    {"reason", handle.error().what}});
    }
    return status_of(handle.error().code);
  }
  file_.handle = static_cast<std::uint32_t>(*handle);
  note("grant");
  return Status::kOk;
}

GrantRegisters::Status GrantRegisters::revoke() {
  const Result<void> revoked = keeper_.revoke(GrantHandle{file_.handle});
  if (!revoked) return status_of(revoked.error().code);
  note("grant_revoked");
  return Status::kOk;
}

GrantRegisters::Status GrantRegisters::query() {
  const std::optional<HeldGrant> held = keeper_.next(GrantHandle{file_.handle});
  if (!held) return Status::kNotFound;
  const GrantRights rights = held->grant.rights;
  file_.handle = static_cast<std::uint32_t>(held->handle);
  file_.first = held->grant.first.value();
  file_.pages = held->grant.pages;
  file_.grantee = static_cast<std::uint32_t>(held->grant.grantee);
  file_.rights = (rights.read ? kRightRead : 0) | (rights.write ? kRightWrite : 0);
  return Status::kOk;
}

void GrantRegisters::note(std::string_view event) {
  if (limiter_.allow()) log_info(event, {{"handle", file_.handle}, {"grants", keeper_.count()}});
}

void GrantRegisters::save(StateWriter& writer) const {
  MutexLock lock(mutex_);
  writer.put(kStateVersion);
  writer.put(file_);
  keeper_.save(writer);
}

// Every value of the file is one that the guest could have written.
Result<void> GrantRegisters::restore(StateReader& reader) {
  MutexLock lock(mutex_);
  if (TRY(reader.get<std::uint32_t>()) != kStateVersion) {
    return Error{Errc::kUnsupported, 0, "state of the grant device: other version"};
  }
  const File file = TRY(reader.get<File>());
  if (file.status > Status::kFailed) {
    return Error{Errc::kMalformed, 0, "state of the grant device: impossible values"};
  }
  TRY(keeper_.restore(reader));
  file_ = file;
  return {};
}

GrantDevice::GrantDevice(GrantKeeper& keeper, Bus& mmio)
    : PciFunction(kIdentity, mmio), registers_(keeper) {
  static_assert(kBarBytes == kPageSize);
  add_bar({.index = kBar, .size = kBarBytes}, registers_);
}

void GrantDevice::save(StateWriter& writer) const {
  save_registers(writer);
  registers_.save(writer);
}

Result<void> GrantDevice::restore(StateReader& reader) {
  TRY(restore_registers(reader));
  return registers_.restore(reader);
}

}  // namespace bulkhead
