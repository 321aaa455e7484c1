// SPDX-License-Identifier: Apache-2.0
#include "cli/daemon_client.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/error.h"
#include "mem/fake_daemon_for_test.h"
#include "mem/ledger.h"

namespace bulkhead::cli {
namespace {

using Packet = FakeDaemon::Packet;

// A file with the words of a ledger that has one pool.
Fd ledger_file() {
  LedgerMemory storage(8);
  const PoolSetup pool{.frames = 8};
  const auto ledger = Ledger::format(storage, std::span(&pool, 1));
  EXPECT_TRUE(ledger);
  Fd file(::memfd_create("ledger", MFD_CLOEXEC));
  const auto bytes = std::as_bytes(ledger->words());
  EXPECT_EQ(::write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  return file;
}

TEST(DaemonClient, GetsTheLedger) {
  const Fd file = ledger_file();
  const FakeDaemon daemon([&](const Packet& request) {
    if (request[0] == 1) return FakeDaemon::Answer{{0, request[1], 1, 0}};
    return FakeDaemon::Answer{{request[0] == 10 ? 0U : 9U, request[1]}, file.get()};
  });
  const auto snapshot = ask_daemon(daemon.path());
  ASSERT_TRUE(snapshot);
  EXPECT_EQ(snapshot->daemon, ::getpid());
  EXPECT_EQ(snapshot->view.frames(), 8u);
}

TEST(DaemonClient, NoDaemonIsNoError) {
  EXPECT_FALSE(ask_daemon("/nowhere/at/all"));
}

TEST(DaemonClient, ARefusalIsTold) {
  const FakeDaemon daemon([](const Packet& request) {
    // "not now", with zeroes behind
    return FakeDaemon::Answer{{9, request[1], 0x20746f6e, 0x00776f6e, 0}};
  });
  try {
    ask_daemon(daemon.path());
    FAIL();
  } catch (const HostError& error) {
    EXPECT_STREQ(error.what(), "bulkheadd gives no ledger: the ledger does not allow that");
  }
}

TEST(DaemonClient, NonsenseIsRefused) {
  const Fd junk(::memfd_create("junk", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(junk.get(), 4096), 0);
  const std::vector<FakeDaemon::Answers> liars = {
      [](const Packet&) { return FakeDaemon::Answer{{0}}; },         // too short
      [](const Packet&) { return FakeDaemon::Answer{{0, 99, 1}}; },  // of another request
      [](const Packet& request) { return FakeDaemon::Answer{{0, request[1], 1, 0}}; },  // no file
      [&](const Packet& request) { return FakeDaemon::Answer{{0, request[1], 1, 0}, junk.get()}; },
  };
  for (const FakeDaemon::Answers& liar : liars) {
    const FakeDaemon daemon(liar);
    EXPECT_THROW(ask_daemon(daemon.path()), HostError);
  }
}

}  // namespace
}  // namespace bulkhead::cli
