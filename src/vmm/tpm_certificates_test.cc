// SPDX-License-Identifier: Apache-2.0
#include "vmm/tpm_certificates.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "mem/daemon_protocol.h"
#include "mem/fake_daemon_for_test.h"
#include "seal/temp_dir_for_test.h"
#include "vmm/tpm_process.h"
#include "vtpm/partition_keys.h"

namespace bulkhead {
namespace {

// A daemon that certifies whatever it is given, with these bytes; or refuses.
class Certifying {
 public:
  explicit Certifying(std::uint32_t status = 0) : status_(status) {
    // Three lengths, and four bytes each.
    const std::uint32_t content[] = {4, 0x11111111, 4, 0x22222222, 4, 0x33333333};
    CHECK(::write(file_.get(), content, sizeof content) == sizeof content);
  }
  std::string path() const { return daemon_.path(); }

 private:
  FakeDaemon::Answer answer(const FakeDaemon::Packet& request) const {
    switch (daemon::Request(request[0])) {
      case daemon::Request::kHello:
        return {{0, request[1], daemon::kProtocolVersion, 0}};
      case daemon::Request::kChallenge:
        return {{0, request[1], 1, 2, 3, 4, 5, 6, 7, 8}};
      default:
        break;
    }
    const bool challenged = request[2] == 1 && request[9] == 8;
    if (!challenged || status_ != 0) return {{status_ == 0 ? 9 : status_, request[1]}};
    return {{0, request[1]}, file_.get()};
  }

  const std::uint32_t status_;
  const Fd file_{::memfd_create("certificates", MFD_CLOEXEC)};
  FakeDaemon daemon_{[this](const FakeDaemon::Packet& request) { return answer(request); }};
};

class TpmCertification : public ::testing::Test {
 protected:
  TpmCertification() {
    CHECK(process_->client().init());
    CHECK(vtpm::Platform(tpm()).startup());
  }
  Tpm& tpm() { return process_->client(); }
  bool has(std::uint32_t index) {
    // TPM2_NV_ReadPublic.
    const Bytes command = TpmWriter().u16(0x8001).u32(14).u32(0x169).u32(index).take();
    std::array<std::byte, kTpmBufferBytes> response;
    const std::size_t length = tpm().execute(TpmLocality::k0, command, response).value();
    return length > 10;
  }

  const Fd program_ = Fd::open(BULKHEAD_VTPM_PROGRAM, O_RDONLY).value();
  const std::unique_ptr<vtpm::ProcessHandle> process_ =
      vtpm::ProcessHandle::start({.program_fd = program_.get()}).value();
};

TEST_F(TpmCertification, PutsWhatTheDaemonIssuesIntoTheTpm) {
  const Certifying daemon;
  ASSERT_FALSE(has(vtpm::kAttestationCertificateIndex));
  ASSERT_TRUE(certify_tpm(tpm(), daemon.path()));
  EXPECT_TRUE(has(vtpm::kAttestationCertificateIndex));
  EXPECT_TRUE(has(vtpm::kEndorsementCertificateIndex));
  EXPECT_TRUE(has(vtpm::kChainIndex));
}

// Certificates of another time, or of the host that the TPM was on before, would mislead.
TEST_F(TpmCertification, LeavesNoneWhenItFails) {
  {
    const Certifying daemon;
    ASSERT_TRUE(certify_tpm(tpm(), daemon.path()));
  }
  const Certifying refusing(daemon::status_of(Errc::kPermission));
  EXPECT_EQ(certify_tpm(tpm(), refusing.path()).error().code, Errc::kPermission);
  EXPECT_FALSE(has(vtpm::kAttestationCertificateIndex));
  EXPECT_FALSE(has(vtpm::kEndorsementCertificateIndex));
  EXPECT_FALSE(has(vtpm::kChainIndex));
}

TEST_F(TpmCertification, LeavesNoneWithoutADaemon) {
  {
    const Certifying daemon;
    ASSERT_TRUE(certify_tpm(tpm(), daemon.path()));
  }
  EXPECT_EQ(certify_tpm(tpm(), "/nowhere").error().code, Errc::kNotFound);
  EXPECT_FALSE(has(vtpm::kAttestationCertificateIndex));
  const Certifying daemon;
  ASSERT_TRUE(certify_tpm(tpm(), daemon.path()));
  ASSERT_TRUE(leave_uncertified(tpm()));
  EXPECT_FALSE(has(vtpm::kAttestationCertificateIndex));
}

// A user could give the monitor a TPM of his own, which says what he likes.
TEST(TpmProgram, OnlyTheMonitorsOwnIsCertified) {
  TempDir dir;
  const std::string own = dir / "bulkhead-vtpm";
  std::filesystem::copy_file(BULKHEAD_VTPM_PROGRAM, own);
  ASSERT_EQ(::chmod(own.c_str(), 0755), 0);
  const Fd program = Fd::open(own.c_str(), O_RDONLY).value();
  EXPECT_TRUE(is_own_tpm(program.get(), dir.path()));  // the control
  const Fd copy = Fd::open(BULKHEAD_VTPM_PROGRAM, O_RDONLY).value();
  EXPECT_FALSE(is_own_tpm(copy.get(), dir.path()));
  ASSERT_EQ(::chmod(own.c_str(), 0777), 0);
  EXPECT_FALSE(is_own_tpm(program.get(), dir.path()));
  ASSERT_EQ(::unlink(own.c_str()), 0);
  EXPECT_FALSE(is_own_tpm(program.get(), dir.path()));
}

TEST(TpmProgram, AnotherIsStartedAndNotCertified) {
  const Certifying daemon;
  const Fd program = Fd::open(BULKHEAD_VTPM_PROGRAM, O_RDONLY).value();
  LaunchSpec spec;
  spec.tpm = TpmSpec{.program_fd = program.get(), .certifier = daemon.path()};
  ASSERT_FALSE(is_own_tpm(program.get(), own_directory()));
  const auto tpm = TpmProcess::create(spec).value();
  ASSERT_TRUE(tpm->restart());
  const Bytes command =
      TpmWriter().u16(0x8001).u32(14).u32(0x169).u32(vtpm::kAttestationCertificateIndex).take();
  std::array<std::byte, kTpmBufferBytes> response;
  EXPECT_EQ(tpm->execute(TpmLocality::k0, command, response).value(), 10U);
}

}  // namespace
}  // namespace bulkhead
