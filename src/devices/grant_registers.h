// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// The registers of the grant device, which docs/formats/grant-device.md explains: for the device
// and for programs in a guest.

namespace bulkhead::grant_device {

// What a guest finds the device by. 1af4:10f0 to 1af4:10ff are set aside for devices that have no
// number of their own, so only the magic number tells for sure.
inline constexpr std::uint16_t kVendorId = 0x1af4;
inline constexpr std::uint16_t kDeviceId = 0x10f0;
inline constexpr std::uint16_t kSubsystemVendorId = 0x1af4;
inline constexpr std::uint16_t kSubsystemId = 0x4247;
inline constexpr std::uint64_t kMagic = 0x544e415247484b42;  // "BKHGRANT", the first byte lowest
inline constexpr std::uint32_t kVersion = 1;
inline constexpr std::uint64_t kBarBytes = 4096;

// Offsets in BAR 0.
inline constexpr std::uint64_t kMagicRegister = 0x00;  // 64 bits
inline constexpr std::uint64_t kVersionRegister = 0x08;
inline constexpr std::uint64_t kCountRegister = 0x0c;  // grants in force
inline constexpr std::uint64_t kFirstRegister = 0x10;  // 64 bits
inline constexpr std::uint64_t kPagesRegister = 0x18;  // 64 bits
inline constexpr std::uint64_t kGranteeRegister = 0x20;
inline constexpr std::uint64_t kRightsRegister = 0x24;
inline constexpr std::uint64_t kHandleRegister = 0x28;
inline constexpr std::uint64_t kCommandRegister = 0x2c;
inline constexpr std::uint64_t kStatusRegister = 0x30;

inline constexpr std::uint32_t kRightRead = 1;
inline constexpr std::uint32_t kRightWrite = 2;

enum class Command : std::uint32_t { kGrant = 1, kRevoke = 2, kRevokeAll = 3, kQuery = 4 };

enum class Status : std::uint32_t {
  kOk = 0,
  kInvalid = 1,   // no such command, no pages, no rights, unknown rights
  kNotRam = 2,    // not whole pages of RAM
  kOverlap = 3,   // with another grant to the same grantee
  kFull = 4,      // too many grants
  kNotFound = 5,  // no such handle
  kRefused = 6,   // the host does not allow it
  kFailed = 7,    // the host could not do it
};

}  // namespace bulkhead::grant_device
