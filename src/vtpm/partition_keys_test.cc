// SPDX-License-Identifier: Apache-2.0
#include "vtpm/partition_keys.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "vtpm/commands_for_test.h"
#include "vtpm/process_handle.h"

namespace bulkhead::vtpm {
namespace {

constexpr std::uint32_t kOwner = 0x40000001;
constexpr std::uint32_t kLockout = 0x4000000a;
constexpr std::uint32_t kNvUndefineSpace = 0x122;
constexpr std::uint32_t kClear = 0x126;
constexpr std::uint32_t kNvDefineSpace = 0x12a;
constexpr std::uint32_t kNvWrite = 0x137;
constexpr std::uint32_t kNvRead = 0x14e;

class PartitionKeys : public ::testing::Test {
 protected:
  void SetUp() override { power_on(); }
  void power_on() {
    ASSERT_TRUE(process_->client().init());
    ASSERT_TRUE(platform_.startup());
  }
  // A guest's command, with empty passwords. What is behind the response's header, if it succeeds.
  std::optional<Bytes> guest(std::uint32_t code, std::initializer_list<std::uint32_t> handles,
                             const Bytes& parameters) {
    TpmWriter rest;
    for (std::uint32_t handle : handles) rest.u32(handle);
    rest.u32(9).u32(0x40000009).u16(0).u8(0).u16(0).raw(parameters);
    const Bytes body = rest.take();
    const Bytes command = TpmWriter()
                              .u16(0x8002)
                              .u32(static_cast<std::uint32_t>(10 + body.size()))
                              .u32(code)
                              .raw(body)
                              .take();
    const Bytes response = run(process_->client(), command).value();
    if (response_code(response) != 0) return std::nullopt;
    return Bytes(response.begin() + 10, response.end());
  }
  std::optional<Bytes> read(std::uint32_t index, std::uint16_t size) {
    const auto answer = guest(kNvRead, {index, index}, TpmWriter().u16(size).u16(0).take());
    if (!answer) return std::nullopt;
    return Bytes(answer->begin() + 6, answer->begin() + 6 + size);
  }
  bool define(std::uint32_t index) {
    constexpr std::uint32_t kByOwner = 1U << 1 | 1U << 17 | 1U << 18;
    const Bytes area = TpmWriter().u32(index).u16(0xb).u32(kByOwner).u16(0).u16(8).take();
    return guest(kNvDefineSpace, {kOwner}, TpmWriter().u16(0).sized(area).take()).has_value();
  }
  bool overwrite(std::uint32_t by, std::uint32_t index) {
    return guest(kNvWrite, {by, index}, TpmWriter().sized(Bytes(4)).u16(0).take()).has_value();
  }

  const Fd program_ = Fd::open(BULKHEAD_VTPM_PROGRAM, O_PATH).value();
  const std::unique_ptr<ProcessHandle> process_ =
      ProcessHandle::start({.program_fd = program_.get()}).value();
  Platform platform_{process_->client()};
  const Bytes ek_ = Bytes(600, std::byte{1});
  const Bytes ak_ = Bytes(700, std::byte{2});
  const Bytes chain_ = Bytes(3000, std::byte{3});
};

TEST_F(PartitionKeys, AreTheSameAtEveryStart) {
  const PublicAreas first = show_keys(platform_).value();
  EXPECT_NE(first.endorsement_key, first.attestation_key);
  power_on();
  const PublicAreas again = show_keys(platform_).value();
  EXPECT_EQ(again.endorsement_key, first.endorsement_key);
  EXPECT_EQ(again.attestation_key, first.attestation_key);
}

TEST_F(PartitionKeys, OfAnotherTpmAreOthers) {
  const auto other = ProcessHandle::start({.program_fd = program_.get()}).value();
  ASSERT_TRUE(other->client().init());
  Platform platform(other->client());
  ASSERT_TRUE(platform.startup());
  EXPECT_NE(show_keys(platform).value().attestation_key,
            show_keys(platform_).value().attestation_key);
}

TEST_F(PartitionKeys, CertificatesAreForTheGuestToReadAndNoMore) {
  ASSERT_TRUE(write_certificates(platform_, {ek_, ak_, chain_}));
  ASSERT_TRUE(platform_.give_up_authority());
  EXPECT_EQ(read(kEndorsementCertificateIndex, 600), ek_);
  EXPECT_EQ(read(kAttestationCertificateIndex, 700), ak_);
  EXPECT_EQ(read(kChainIndex, 1000), Bytes(1000, std::byte{3}));
  EXPECT_EQ(read(kChainIndex + 1, 3000 - 2048), Bytes(3000 - 2048, std::byte{3}));
  for (std::uint32_t index : {kEndorsementCertificateIndex, kAttestationCertificateIndex}) {
    EXPECT_FALSE(overwrite(kOwner, index));
    EXPECT_FALSE(overwrite(index, index));
    EXPECT_FALSE(guest(kNvUndefineSpace, {kOwner, index}, {}));
    EXPECT_FALSE(define(index));
  }
  // The control: all of that is possible with an index of the guest's own.
  constexpr std::uint32_t kOwn = 0x01800001;
  ASSERT_TRUE(define(kOwn));
  EXPECT_TRUE(overwrite(kOwner, kOwn));
  EXPECT_TRUE(guest(kNvUndefineSpace, {kOwner, kOwn}, {}));
}

TEST_F(PartitionKeys, CertificatesAndKeysOutliveAClear) {
  const PublicAreas before = show_keys(platform_).value();
  ASSERT_TRUE(write_certificates(platform_, {ek_, ak_, chain_}));
  ASSERT_TRUE(platform_.give_up_authority());
  ASSERT_TRUE(define(0x01800001));
  ASSERT_TRUE(guest(kClear, {kLockout}, {}));
  EXPECT_FALSE(read(0x01800001, 8));  // the control: the guest's own is gone
  EXPECT_EQ(read(kAttestationCertificateIndex, 700), ak_);
  EXPECT_EQ(show_keys(platform_).value().attestation_key, before.attestation_key);
}

TEST_F(PartitionKeys, CertificatesTakeThePlaceOfWhatTheGuestPutThere) {
  ASSERT_TRUE(define(kEndorsementCertificateIndex));
  ASSERT_TRUE(define(kChainIndex + 3));
  ASSERT_TRUE(write_certificates(platform_, {ek_, ak_, chain_}));
  EXPECT_EQ(read(kEndorsementCertificateIndex, 600), ek_);
  EXPECT_FALSE(read(kChainIndex + 3, 8));
  ASSERT_TRUE(write_certificates(platform_, {ak_, ek_, {}}));
  EXPECT_EQ(read(kEndorsementCertificateIndex, 700), ak_);
  EXPECT_FALSE(read(kChainIndex, 8));
  ASSERT_TRUE(remove_certificates(platform_));
  EXPECT_FALSE(read(kEndorsementCertificateIndex, 8));
}

TEST_F(PartitionKeys, TooMuchIsAnErrorAndChangesNothing) {
  ASSERT_TRUE(write_certificates(platform_, {ek_, ak_, chain_}));
  EXPECT_EQ(write_certificates(platform_, {Bytes(2049), ak_, {}}).error().code, Errc::kExhausted);
  EXPECT_EQ(write_certificates(platform_, {ek_, ak_, Bytes(4 * 2048 + 1)}).error().code,
            Errc::kExhausted);
  EXPECT_EQ(read(kEndorsementCertificateIndex, 600), ek_);
}

// A guest may give the hierarchy a password. Then there are no keys to certify, which is an error.
TEST_F(PartitionKeys, AreNotShownWhenTheHierarchyHasAPassword) {
  constexpr std::uint32_t kHierarchyChangeAuth = 0x129;
  ASSERT_TRUE(show_keys(platform_));
  ASSERT_TRUE(
      guest(kHierarchyChangeAuth, {0x4000000b}, TpmWriter().sized(Bytes(4, std::byte{1})).take()));
  EXPECT_EQ(show_keys(platform_).error().code, Errc::kIo);
}

}  // namespace
}  // namespace bulkhead::vtpm
