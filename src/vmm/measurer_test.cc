// SPDX-License-Identifier: Apache-2.0
#include "vmm/measurer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>

#include "base/log.h"
#include "mem/fake_daemon_for_test.h"

namespace bulkhead {
namespace {

// A daemon that says of every file that its digests are all one, and gives an empty copy.
class Measuring {
 public:
  explicit Measuring(int seals) { CHECK(::fcntl(copy_.get(), F_ADD_SEALS, seals) == 0); }
  std::string path() const { return daemon_.path(); }

 private:
  FakeDaemon::Answer answer(const FakeDaemon::Packet& request) const {
    if (daemon::Request(request[0]) == daemon::Request::kHello) {
      return {{0, request[1], daemon::kProtocolVersion, 0}};
    }
    FakeDaemon::Packet packet{0, request[1]};
    packet.resize(2 + 20, 0x01010101);
    return {packet, request[2] == 1 ? copy_.get() : -1};
  }

  const Fd copy_{::memfd_create("copy", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  FakeDaemon daemon_{[this](const FakeDaemon::Packet& request) { return answer(request); }};
};

class MeasurerTest : public ::testing::Test {
 protected:
  MeasurerTest() {
    set_log_level(LogLevel::kError);
    CHECK(::write(file_.get(), "kernel", 6) == 6);
  }
  static bool is_the_daemons(const DigestSet& digests) {
    return digests.size() == 2 && std::ranges::all_of(digests, [](const Digest& digest) {
             return std::ranges::all_of(digest.bytes(),
                                        [](std::byte byte) { return byte == std::byte{1}; });
           });
  }
  bool is_measured_here(const Measurer& measurer) const {
    const DigestSet own = MeasuredCopy::make(file_.get()).value().digests();
    return measurer.copy(file_.get())->digests() == own &&
           !measurer.copy_of_daemon(file_.get()).has_value();
  }

  const Fd file_{::memfd_create("file", MFD_CLOEXEC)};
};

TEST_F(MeasurerTest, BelievesTheDaemon) {
  {
    const Measuring daemon(daemon::kCopySeals);
    const MeasuredCopy copy = Measurer(daemon.path(), ::geteuid()).copy(file_.get()).value();
    EXPECT_TRUE(is_the_daemons(copy.digests()));
    EXPECT_EQ(::lseek(copy.fd(), 0, SEEK_END), 0);
  }
  const Measuring daemon(daemon::kCopySeals);
  EXPECT_TRUE(is_the_daemons(Measurer(daemon.path(), ::geteuid()).program(file_.get()).value()));
}

// Whoever starts the monitor says where the socket is.
TEST_F(MeasurerTest, DoesNotBelieveAnotherUser) {
  const Measuring daemon(daemon::kCopySeals);
  EXPECT_EQ(Measurer(daemon.path(), ::geteuid() + 1).program(file_.get()).value(),
            measure_program(file_.get()).value());
}

TEST_F(MeasurerTest, DoesNotTakeACopyThatCanBeChanged) {
  for (const int seals : {0, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL}) {
    const Measuring daemon(seals);
    EXPECT_FALSE(Measurer(daemon.path(), ::geteuid()).copy_of_daemon(file_.get()).has_value());
  }
}

TEST_F(MeasurerTest, MeasuresWithoutADaemon) {
  EXPECT_TRUE(is_measured_here(Measurer("")));
  EXPECT_TRUE(is_measured_here(Measurer("/nowhere")));
}

}  // namespace
}  // namespace bulkhead
