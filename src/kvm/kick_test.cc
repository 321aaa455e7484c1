// SPDX-License-Identifier: Apache-2.0
#include "kvm/kick.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "kvm/tiny_guest.h"

namespace bulkhead::kvm {
namespace {

using namespace std::chrono_literals;

TEST(VcpuKick, EndsAnEndlessLoopInTheGuest) {
  auto guest = TinyGuest::create();
  if (guest == nullptr) GTEST_SKIP() << "no /dev/kvm";
  Vcpu vcpu = guest->add_vcpu();
  auto entry = guest->long_mode();
  guest->write(kTinyCode, {0xeb, 0xfe});  // jmp $
  ASSERT_TRUE(enter(vcpu, entry));
  ASSERT_TRUE(install_kick_signal());

  VcpuKick kick(vcpu);
  std::atomic<int> asked = 0, answered = 0;
  std::atomic<bool> failed = false;
  constexpr int kRounds = 200;
  std::thread runner([&] {
    VcpuKick::Attachment attachment(kick);
    while (answered < kRounds && !failed) {
      auto exit = vcpu.run();
      failed = !exit || !std::holds_alternative<Interrupted>(*exit);
      answered = asked.load();
    }
  });
  // The next kick goes out as soon as the last is answered, so that many hit the way into KVM_RUN.
  auto deadline = std::chrono::steady_clock::now() + 20s;
  bool in_time = true;
  for (int round = 1; round <= kRounds && in_time && !failed; ++round) {
    asked = round;
    kick.kick();
    while (answered < round && in_time && !failed) {
      std::this_thread::yield();
      in_time = std::chrono::steady_clock::now() < deadline;
    }
  }
  EXPECT_TRUE(in_time) << "round " << asked << " was never answered";
  EXPECT_FALSE(failed);
  if (!in_time) failed = true, kick.kick();
  runner.join();
}

// On some hosts SIDT into a read-only slot makes KVM_RUN retry for ever, in the kernel. Whether
// this one loops or exits, a kick ends it.
TEST(VcpuKick, EndsAnEndlessLoopInTheKernel) {
  auto guest = TinyGuest::create();
  if (guest == nullptr) GTEST_SKIP() << "no /dev/kvm";
  Vcpu vcpu = guest->add_vcpu();
  ASSERT_TRUE(guest->vm.enable_exit_on_emulation_failure());
  ASSERT_TRUE(guest->vm.set_slot({.id = 1,
                                  .base = Gpa(0x400000),
                                  .size_bytes = kPageSize,
                                  .host = guest->host(Gpa(0x100000)),
                                  .read_only = true}));
  guest->write(kTinyCode, {0x0f, 0x01, 0x0c, 0x25, 0, 0, 0x40, 0,  // sidt [0x400000]
                           0xeb, 0xf6});                           // and again
  ASSERT_TRUE(enter(vcpu, guest->long_mode()));
  ASSERT_TRUE(install_kick_signal());
  VcpuKick kick(vcpu);
  std::atomic<bool> interrupted = false, ended = false;
  std::thread runner([&] {
    VcpuKick::Attachment attachment(kick);
    constexpr int kMostExits = 1'000'000;
    for (int exits = 0; exits < kMostExits && !interrupted; ++exits) {
      auto exit = vcpu.run();
      interrupted = !exit || std::holds_alternative<Interrupted>(*exit);
    }
    ended = true;
  });
  std::this_thread::sleep_for(50ms);
  auto deadline = std::chrono::steady_clock::now() + 20s;
  kick.kick();
  while (!ended && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  ASSERT_TRUE(ended) << "KVM_RUN does not come back";
  runner.join();
}

TEST(VcpuKick, WithoutAThreadItHoldsForTheNextRun) {
  auto guest = TinyGuest::create();
  if (guest == nullptr) GTEST_SKIP() << "no /dev/kvm";
  Vcpu vcpu = guest->add_vcpu();
  auto entry = guest->long_mode();
  guest->write(kTinyCode, {0xeb, 0xfe});
  ASSERT_TRUE(enter(vcpu, entry));
  VcpuKick kick(vcpu);
  kick.kick();
  auto exit = vcpu.run();
  ASSERT_TRUE(exit);
  EXPECT_TRUE(std::holds_alternative<Interrupted>(*exit));
}

TEST(VcpuKick, AfterTheThreadHasEndedNobodyIsSignalled) {
  auto guest = TinyGuest::create();
  if (guest == nullptr) GTEST_SKIP() << "no /dev/kvm";
  Vcpu vcpu = guest->add_vcpu();
  ASSERT_TRUE(install_kick_signal());
  VcpuKick kick(vcpu);
  std::thread([&] { VcpuKick::Attachment attachment(kick); }).join();
  kick.kick();  // pthread_kill on an ended thread would be undefined
}

}  // namespace
}  // namespace bulkhead::kvm
