// SPDX-License-Identifier: Apache-2.0
#include "host/probes.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/address.h"
#include "mem/daemon_protocol.h"
#include "mem/fake_daemon_for_test.h"

namespace bulkhead::host {
namespace {

TEST(Probes, SumUpThePoolsOfTheDaemon) {
  using Packet = FakeDaemon::Packet;
  const FakeDaemon daemon([](const Packet& request) {
    if (request[0] != static_cast<std::uint32_t>(daemon::Request::kPools)) {
      return FakeDaemon::Answer{{0, request[1], daemon::kProtocolVersion, 0}};
    }
    const auto memfd = static_cast<std::uint32_t>(Backing::kMemfd);
    const auto carved = static_cast<std::uint32_t>(Backing::kCarved);
    return FakeDaemon::Answer{
        {0, request[1], 2, 0, memfd, ledger::kNoNode, 8, 0, 5, 0, carved, 0, 64, 0, 48, 0}};
  });
  const DaemonProbe probe = probe_host(daemon.path()).daemon;
  EXPECT_TRUE(probe.answers);
  EXPECT_EQ(probe.error, "");
  EXPECT_EQ(probe.pools, 2u);
  EXPECT_EQ(probe.total_bytes, 72 * kFrameSize);
  EXPECT_EQ(probe.free_bytes, 53 * kFrameSize);
  EXPECT_EQ(probe.carved_free_bytes, ::geteuid() == 0 ? 48 * kFrameSize : 0);
}

TEST(Probes, EveryFailureHasAReason) {
  const Probes probes = probe_host("/nowhere/at/all");
  EXPECT_FALSE(probes.daemon.answers);
  EXPECT_NE(probes.daemon.error.find("no bulkheadd answers"), std::string::npos);
  EXPECT_EQ(probes.userfault.works, probes.userfault.error.empty());
  EXPECT_EQ(probes.kvm.opens, probes.kvm.error.empty());
}

}  // namespace
}  // namespace bulkhead::host
