// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/common_config.h"

#include <gtest/gtest.h>

#include <array>

namespace bulkhead {
namespace {

using namespace virtio;

constexpr std::uint64_t kOffered = feature(3) | feature(40) | kFeatureVersion1;
constexpr std::array<std::uint16_t, 2> kSizes{256, 64};
constexpr std::uint16_t kVectors = 3;

// Offsets of struct virtio_pci_common_cfg (virtio 1.2 §4.1.4.3), written out once more.
constexpr std::uint64_t kDeviceFeatureSelect = 0, kDeviceFeature = 4, kDriverFeatureSelect = 8,
                        kDriverFeature = 12, kConfigVector = 16, kNumQueues = 18, kStatus = 20,
                        kGeneration = 21, kQueueSelect = 22, kQueueSize = 24, kQueueVector = 26,
                        kQueueEnable = 28, kNotifyOff = 30, kQueueDesc = 32, kQueueDriver = 40,
                        kQueueDevice = 48;

class CommonConfigTest : public testing::Test, private VirtioCommonConfig::Owner {
 protected:
  template <class T>
  T get(std::uint64_t offset) {
    T value = 0;
    config.read(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  template <class T>
  void set(std::uint64_t offset, std::type_identity_t<T> value) {
    config.write(offset, std::as_bytes(std::span(&value, 1)));
  }
  std::uint8_t set_status(std::uint8_t value) {
    set<std::uint8_t>(kStatus, value);
    return get<std::uint8_t>(kStatus);
  }
  void set_features(std::uint64_t value) {
    set<std::uint32_t>(kDriverFeatureSelect, 0);
    set<std::uint32_t>(kDriverFeature, static_cast<std::uint32_t>(value));
    set<std::uint32_t>(kDriverFeatureSelect, 1);
    set<std::uint32_t>(kDriverFeature, static_cast<std::uint32_t>(value >> 32));
  }
  void negotiate() {
    set_status(kStatusAcknowledge);
    set_status(kStatusAcknowledge | kStatusDriver);
    set_features(kFeatureVersion1);
    EXPECT_EQ(set_status(kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk), 11);
  }

  int started = 0;
  int stopped = 0;
  std::uint8_t status_at_reset = 0;
  VirtioCommonConfig config{{.offered_features = kOffered,
                             .required_features = kFeatureVersion1,
                             .queue_sizes = kSizes,
                             .vectors = kVectors},
                            *this};

 private:
  void driver_ok() override { ++started; }
  void driver_reset() override {
    ++stopped;
    status_at_reset = config.status();
  }
};

TEST_F(CommonConfigTest, OffersFeaturesInHalves) {
  EXPECT_EQ(get<std::uint32_t>(kDeviceFeature), feature(3));
  set<std::uint32_t>(kDeviceFeatureSelect, 1);
  EXPECT_EQ(get<std::uint32_t>(kDeviceFeature), 0x101u);
  for (const std::uint32_t select : {2u, 32u, 0xffffffffu}) {
    set<std::uint32_t>(kDeviceFeatureSelect, select);
    EXPECT_EQ(get<std::uint32_t>(kDeviceFeature), 0u);
    set<std::uint32_t>(kDriverFeatureSelect, select);
    set<std::uint32_t>(kDriverFeature, 0xffffffff);
  }
  EXPECT_EQ(config.features(), 0u);
  set<std::uint32_t>(kDeviceFeature, 0xffffffff);  // read-only
  set<std::uint32_t>(kDeviceFeatureSelect, 0);
  EXPECT_EQ(get<std::uint32_t>(kDeviceFeature), feature(3));
}

TEST_F(CommonConfigTest, AcceptsASubsetOfTheFeatures) {
  set_features(feature(40) | kFeatureVersion1);
  EXPECT_EQ(set_status(11), 11);
  EXPECT_EQ(config.features(), feature(40) | kFeatureVersion1);
}

TEST_F(CommonConfigTest, RefusesUnknownFeatures) {
  set_features(feature(4) | kFeatureVersion1);
  EXPECT_EQ(set_status(11), 3);
  set_features(kFeatureVersion1);  // the driver may think again
  EXPECT_EQ(set_status(11), 11);
}

TEST_F(CommonConfigTest, RefusesToWorkWithoutWhatIsRequired) {
  set_features(feature(3));
  EXPECT_EQ(set_status(11), 3);
}

TEST_F(CommonConfigTest, FeaturesAreFixedOnceAccepted) {
  negotiate();
  set_features(kOffered);
  EXPECT_EQ(config.features(), kFeatureVersion1);
}

TEST_F(CommonConfigTest, DriverOkStartsTheDeviceOnce) {
  negotiate();
  EXPECT_FALSE(config.running());
  EXPECT_EQ(set_status(15), 15);
  EXPECT_EQ(started, 1);
  EXPECT_TRUE(config.running());
  EXPECT_EQ(set_status(15), 15);
  EXPECT_EQ(started, 1);
}

TEST_F(CommonConfigTest, DriverOkNeedsFeaturesOk) {
  EXPECT_EQ(set_status(7), 3);
  set_features(feature(4));
  EXPECT_EQ(set_status(15), 3);
  EXPECT_EQ(started, 0);
  set_features(kFeatureVersion1);
  EXPECT_EQ(set_status(15), 15);  // both at once will do
  EXPECT_EQ(started, 1);
}

TEST_F(CommonConfigTest, OnlyZeroClearsBits) {
  negotiate();
  EXPECT_EQ(set_status(1), 11);
  EXPECT_EQ(set_status(kStatusFailed), 11 | kStatusFailed);
  config.set_needs_reset();
  EXPECT_EQ(set_status(1), 11 | kStatusFailed | kStatusNeedsReset);
}

TEST_F(CommonConfigTest, TheDriverCannotSetTheDevicesBits) {
  EXPECT_EQ(set_status(kStatusNeedsReset | 0x10 | 0x20 | kStatusAcknowledge), 1);
}

TEST_F(CommonConfigTest, NeedsResetEndsRunning) {
  negotiate();
  set_status(15);
  config.set_needs_reset();
  EXPECT_FALSE(config.running());
  EXPECT_EQ(get<std::uint8_t>(kStatus), 15 | kStatusNeedsReset);
  EXPECT_EQ(set_status(0), 0);
}

TEST_F(CommonConfigTest, ZeroResetsEverything) {
  set<std::uint16_t>(kConfigVector, 1);
  set<std::uint16_t>(kQueueSelect, 1);
  set<std::uint16_t>(kQueueSize, 16);
  set<std::uint16_t>(kQueueVector, 2);
  set<std::uint64_t>(kQueueDesc, 0x1000);
  set<std::uint16_t>(kQueueEnable, 1);
  negotiate();
  set_status(15);
  EXPECT_EQ(set_status(0), 0);
  EXPECT_EQ(stopped, 1);
  EXPECT_EQ(status_at_reset, 15);  // the owner sees what was
  EXPECT_EQ(config.features(), 0u);
  EXPECT_EQ(config.config_vector(), VirtioCommonConfig::kNoVector);
  EXPECT_EQ(get<std::uint16_t>(kQueueSelect), 0);
  set<std::uint16_t>(kQueueSelect, 1);
  EXPECT_EQ(get<std::uint16_t>(kQueueSize), 64);
  EXPECT_EQ(get<std::uint16_t>(kQueueVector), VirtioCommonConfig::kNoVector);
  EXPECT_EQ(get<std::uint16_t>(kQueueEnable), 0);
  EXPECT_EQ(get<std::uint64_t>(kQueueDesc), 0u);
}

TEST_F(CommonConfigTest, SetsUpQueues) {
  EXPECT_EQ(get<std::uint16_t>(kNumQueues), 2);
  set<std::uint16_t>(kQueueSelect, 1);
  EXPECT_EQ(get<std::uint16_t>(kQueueSize), 64);
  EXPECT_EQ(get<std::uint16_t>(kNotifyOff), 1);
  set<std::uint16_t>(kQueueSize, 32);
  set<std::uint32_t>(kQueueDesc, 0x1000);
  set<std::uint32_t>(kQueueDesc + 4, 0x2);
  set<std::uint64_t>(kQueueDriver, 0x3'0000'2000);
  set<std::uint64_t>(kQueueDevice, 0x4'0000'3000);
  set<std::uint16_t>(kQueueEnable, 1);
  EXPECT_TRUE(config.queue_enabled(1));
  EXPECT_FALSE(config.queue_enabled(0));
  const VirtQueue::Layout layout = config.queue_layout(1);
  EXPECT_EQ(layout.size, 32);
  EXPECT_EQ(layout.descriptors, DmaAddr(0x2'0000'1000));
  EXPECT_EQ(layout.available, DmaAddr(0x3'0000'2000));
  EXPECT_EQ(layout.used, DmaAddr(0x4'0000'3000));
  EXPECT_EQ(get<std::uint32_t>(kQueueDevice + 4), 4u);
}

TEST_F(CommonConfigTest, AnEnabledQueueIsFixed) {
  set<std::uint16_t>(kQueueEnable, 1);
  set<std::uint16_t>(kQueueSize, 16);
  set<std::uint64_t>(kQueueDesc, 0x1000);
  set<std::uint16_t>(kQueueEnable, 0);
  EXPECT_EQ(get<std::uint16_t>(kQueueSize), 256);
  EXPECT_EQ(get<std::uint64_t>(kQueueDesc), 0u);
  EXPECT_EQ(get<std::uint16_t>(kQueueEnable), 1);
  set<std::uint16_t>(kQueueVector, 2);  // but for this
  EXPECT_EQ(get<std::uint16_t>(kQueueVector), 2);
}

TEST_F(CommonConfigTest, NoQueueAppearsAfterDriverOk) {
  negotiate();
  set_status(15);
  set<std::uint16_t>(kQueueEnable, 1);
  EXPECT_FALSE(config.queue_enabled(0));
}

TEST_F(CommonConfigTest, OnlyOneEnables) {
  set<std::uint16_t>(kQueueEnable, 2);
  EXPECT_FALSE(config.queue_enabled(0));
}

TEST_F(CommonConfigTest, RefusesWrongQueueSizes) {
  set<std::uint16_t>(kQueueSelect, 1);
  for (const int size : {0, 3, 65, 128, 32768, 65535}) {
    set<std::uint16_t>(kQueueSize, static_cast<std::uint16_t>(size));
    EXPECT_EQ(get<std::uint16_t>(kQueueSize), 64) << size;
  }
}

TEST_F(CommonConfigTest, AQueueThatDoesNotExistReadsAsZero) {
  for (const int select : {2, 3, 0xffff}) {
    set<std::uint16_t>(kQueueSelect, static_cast<std::uint16_t>(select));
    EXPECT_EQ(get<std::uint16_t>(kQueueSelect), select);
    for (const std::uint64_t offset : {kQueueSize, kQueueVector, kQueueEnable, kNotifyOff}) {
      set<std::uint16_t>(offset, 1);
      EXPECT_EQ(get<std::uint16_t>(offset), 0) << offset;
    }
    set<std::uint64_t>(kQueueDesc, ~std::uint64_t{0});
    EXPECT_EQ(get<std::uint64_t>(kQueueDesc), 0u);
  }
  EXPECT_EQ(config.queue_vector(2), VirtioCommonConfig::kNoVector);
}

TEST_F(CommonConfigTest, AVectorThatDoesNotExistReadsBackAsNone) {
  set<std::uint16_t>(kConfigVector, 2);
  EXPECT_EQ(get<std::uint16_t>(kConfigVector), 2);
  set<std::uint16_t>(kConfigVector, kVectors);
  EXPECT_EQ(get<std::uint16_t>(kConfigVector), VirtioCommonConfig::kNoVector);
  set<std::uint16_t>(kQueueVector, 2);
  EXPECT_EQ(config.queue_vector(0), 2);
  set<std::uint16_t>(kQueueVector, 0xfffe);
  EXPECT_EQ(config.queue_vector(0), VirtioCommonConfig::kNoVector);
}

TEST_F(CommonConfigTest, CountsChangesOfTheConfiguration) {
  const auto before = get<std::uint8_t>(kGeneration);
  config.config_changed();
  EXPECT_NE(get<std::uint8_t>(kGeneration), before);
}

TEST_F(CommonConfigTest, IgnoresAccessesOfAWrongWidth) {
  EXPECT_EQ(get<std::uint32_t>(kNumQueues), 0u);
  EXPECT_EQ(get<std::uint8_t>(kNumQueues), 0);
  EXPECT_EQ(get<std::uint16_t>(kDeviceFeature), 0);
  EXPECT_EQ(get<std::uint16_t>(kStatus), 0);
  EXPECT_EQ(get<std::uint64_t>(kDeviceFeatureSelect), 0u);
  EXPECT_EQ(get<std::uint16_t>(kNumQueues + 1), 0);
  set<std::uint32_t>(kStatus, 0x01010101);
  EXPECT_EQ(config.status(), 0);
  set<std::uint64_t>(kQueueDevice + 4, ~std::uint64_t{0});  // half beyond the last area
  EXPECT_EQ(get<std::uint32_t>(kQueueDevice + 4), 0xffffffffu);
  for (std::uint64_t offset = 0x38; offset < 0x48; ++offset) {
    set<std::uint16_t>(offset, 0xffff);
    EXPECT_EQ(get<std::uint16_t>(offset), 0) << offset;
  }
  set<std::uint64_t>(~std::uint64_t{0}, 1);
  EXPECT_EQ(get<std::uint64_t>(~std::uint64_t{0}), 0u);
}

class CommonConfigStateTest : public CommonConfigTest {
 protected:
  std::vector<std::byte> saved() {
    StateWriter writer;
    config.save(writer);
    return {writer.bytes().begin(), writer.bytes().end()};
  }
  Result<void> restore(std::span<const std::byte> bytes) {
    StateReader reader(bytes);
    return config.restore(reader);
  }
};

TEST_F(CommonConfigStateTest, SurvivesSavingAndRestoring) {
  set<std::uint16_t>(kConfigVector, 1);
  set<std::uint16_t>(kQueueSelect, 1);
  set<std::uint16_t>(kQueueSize, 16);
  set<std::uint16_t>(kQueueVector, 2);
  set<std::uint64_t>(kQueueDesc, 0x1000);
  set<std::uint16_t>(kQueueEnable, 1);
  negotiate();
  set_status(15);
  const auto state = saved();
  set_status(0);
  ASSERT_TRUE(restore(state));
  EXPECT_EQ(saved(), state);
  EXPECT_EQ(started, 1);  // the owner's business
  EXPECT_TRUE(config.running());
  EXPECT_EQ(config.queue_vector(1), 2);
}

TEST_F(CommonConfigStateTest, RefusesTruncation) {
  const auto state = saved();
  for (std::size_t length = 0; length < state.size(); ++length) {
    EXPECT_FALSE(restore(std::span(state).first(length))) << length;
  }
}

TEST_F(CommonConfigStateTest, RefusesContradictions) {
  constexpr std::size_t kFeatures = 16, kStatusByte = 28, kQueueCount = 30, kFirstSize = 32;
  negotiate();
  const auto state = saved();
  ASSERT_EQ(state[kStatusByte], std::byte{11});
  const auto refuses = [&](std::size_t offset, unsigned value) {
    auto changed = state;
    changed[offset] = static_cast<std::byte>(value);
    return !restore(changed).has_value();
  };
  EXPECT_FALSE(refuses(kStatusByte, 11));
  EXPECT_TRUE(refuses(0, 0xff));            // other features on offer
  EXPECT_TRUE(refuses(kFeatures, 1));       // a feature that is not on offer
  EXPECT_TRUE(refuses(kStatusByte, 7));     // driver without features
  EXPECT_TRUE(refuses(kQueueCount, 3));     // queues
  EXPECT_TRUE(refuses(kFirstSize, 3));      // not a power of two
  EXPECT_TRUE(refuses(kFirstSize + 1, 2));  // 512: too large
}

}  // namespace
}  // namespace bulkhead
