// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// Numbers of the virtio specification 1.2 that more than one file needs.

namespace bulkhead::virtio {

constexpr std::uint64_t feature(unsigned bit) {
  return std::uint64_t{1} << bit;
}

// §6: features of the transport and the queues, bits 24 to 40.
inline constexpr std::uint64_t kFeatureIndirectDesc = feature(28);
inline constexpr std::uint64_t kFeatureEventIndex = feature(29);
inline constexpr std::uint64_t kFeatureVersion1 = feature(32);
inline constexpr std::uint64_t kFeatureAccessPlatform = feature(33);
inline constexpr std::uint64_t kFeatureRingReset = feature(40);

// §2.1: device status.
inline constexpr std::uint8_t kStatusAcknowledge = 1;
inline constexpr std::uint8_t kStatusDriver = 2;
inline constexpr std::uint8_t kStatusDriverOk = 4;
inline constexpr std::uint8_t kStatusFeaturesOk = 8;
inline constexpr std::uint8_t kStatusNeedsReset = 64;
inline constexpr std::uint8_t kStatusFailed = 128;

}  // namespace bulkhead::virtio
