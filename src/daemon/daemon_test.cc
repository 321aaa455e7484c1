// SPDX-License-Identifier: Apache-2.0
// Daemons and monitors as processes of their own, killed at any moment.
#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <random>
#include <sstream>

#include "daemon/fakes_for_test.h"
#include "mem/daemon_frames.h"

namespace bulkhead::daemon {
namespace {

constexpr std::uint64_t kMark = 0x4d41524b4d41524b;
constexpr std::uint64_t kEnd = ~std::uint64_t{0};
constexpr std::size_t kStep = 64 * kKiB;  // a mark in each of these

Mapping map(const Extent& extent) {
  return Mapping::create({.size_bytes = extent.size_bytes(),
                          .protection = PROT_READ | PROT_WRITE,
                          .flags = MAP_SHARED,
                          .fd = extent.file.get(),
                          .offset = extent.file_offset})
      .value();
}

void plant(const Extent& extent) {
  const Mapping memory = map(extent);
  for (std::size_t at = 0; at < memory.size(); at += kStep) put_le(memory.bytes(), at, kMark);
}

bool is_zero(const Extent& extent) {
  const Mapping memory = map(extent);
  for (std::size_t at = 0; at < memory.size(); at += kStep) {
    if (get_le<std::uint64_t>(memory.bytes(), at) != 0) return false;
  }
  return true;
}

class DaemonTest : public ::testing::Test {
 protected:
  void SetUp() override { set_log_level(LogLevel::kError); }
  // What the program mounted.
  void TearDown() override { ::umount2((directory_.path() + "/pools/memfd").c_str(), MNT_DETACH); }

  void start(bool scrubs = true) {
    daemon_ = std::make_unique<Child>([&] { run_daemon(directory_.path(), scrubs, kFakeFrames); });
  }
  DaemonFrames::Options options(const std::string& name = "web") const {
    return {.socket_path = directory_.path() + "/socket", .name = name, .reconnect_ms = 60'000};
  }
  // A daemon that was just started may not listen yet.
  std::unique_ptr<DaemonFrames> connect(const std::string& name = "web") const {
    auto frames = DaemonFrames::connect(options(name));
    for (int i = 0; i < 3000 && !frames; ++i) {
      ::usleep(10'000);
      frames = DaemonFrames::connect(options(name));
    }
    return std::move(frames).value();
  }
  LedgerView ledger() const {
    const Fd file = Fd::open((directory_.path() + "/ledger").c_str(), O_RDONLY).value();
    return LedgerView::read(file.get()).value();
  }
  // When all frames of the dead are scrubbed; the ledger is then in order.
  LedgerView settled() const {
    for (int i = 0; i < 3000; ++i) {
      LedgerView view = ledger();
      if (view.count(FrameState::kScrubbing) == 0 && view.check()) return view;
      ::usleep(10'000);
    }
    ADD_FAILURE() << "the ledger does not settle";
    return ledger();
  }
  std::vector<FrameRun> files() const {
    std::vector<FrameRun> runs = FakePool(directory_.path() + "/pool", true).existing().value();
    std::sort(runs.begin(), runs.end(), [](auto& a, auto& b) { return a.first < b.first; });
    return runs;
  }
  static std::vector<FrameRun> runs_of(const LedgerView& view) {
    std::vector<FrameRun> runs;
    for (const HeldRun& held : view.extents()) runs.push_back(held.run);
    return runs;
  }
  // A monitor that takes frames, writes into them, says so, and waits for its end.
  std::unique_ptr<Child> monitor_with_data(std::uint64_t frames) {
    int ready[2];
    CHECK(::pipe2(ready, O_CLOEXEC) == 0);
    auto monitor = std::make_unique<Child>([&] {
      const auto source = connect("victim");
      const Extent extent = source->take(frames).value();
      plant(extent);
      CHECK(::write(ready[1], "x", 1) == 1);
      ::pause();
    });
    ::close(ready[1]);
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1) << "the monitor failed";
    ::close(ready[0]);
    return monitor;
  }
  bool rest_is_zero() {
    settled();
    const auto next = connect("next");
    const Extent extent = next->take(kFakeFrames).value();
    return is_zero(extent);
  }

  TempDir directory_;
  std::unique_ptr<Child> daemon_;
};

TEST_F(DaemonTest, WithoutADaemonTheReasonIsClear) {
  const auto frames = DaemonFrames::connect(options());
  ASSERT_FALSE(frames);
  EXPECT_EQ(frames.error().code, Errc::kNotFound);
  EXPECT_NE(std::string(frames.error().what).find("no bulkheadd answers"), std::string::npos);
}

TEST_F(DaemonTest, ServesAMonitor) {
  start();
  const auto frames = connect();
  EXPECT_TRUE(frames->covers_host());
  Extent extent = frames->take(4).value();
  EXPECT_TRUE(is_zero(extent));
  plant(extent);
  const FrameRun run{extent.first, extent.frames};
  ASSERT_TRUE(frames->place(run, Gpa(0)));
  const GrantId grant = frames->grant({.pages = {PageIndex(0), 1}}).value();
  EXPECT_EQ(frames->seal(run).error().code, Errc::kPermission);
  auto other = Connection::open(options().socket_path, 5).value();
  EXPECT_EQ(other.daemon(), daemon_->pid());
  EXPECT_EQ(other.snapshot().value().grants().size(), 1U);
  ASSERT_TRUE(frames->revoke(grant));
  ASSERT_TRUE(frames->seal(run));
  ASSERT_TRUE(frames->unseal(run));
  const std::vector<PoolStatus> pools = other.pools().value();
  ASSERT_EQ(pools.size(), 1U);
  EXPECT_EQ(pools[0].free_frames, kFakeFrames - 4);
  EXPECT_EQ(other.snapshot().value().partitions()[0].name, "web");
  frames->give_back(std::move(extent));
  EXPECT_TRUE(is_zero(frames->take(kFakeFrames).value()));
  EXPECT_EQ(frames->take(1).error().code, Errc::kExhausted);
}

// All but what is shared, which stays so.
TEST_F(DaemonTest, NotesThatAMonitorsMemoryIsSealed) {
  start();
  const auto frames = connect();
  Extent extent = frames->take(4).value();
  ASSERT_TRUE(frames->place({extent.first, 4}, Gpa(0)));
  const GrantId shared = frames->note_shared({PageIndex(512), 1}, Rights::kRead).value();
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(frames->note_sealed(true));
    const LedgerView sealed = ledger();
    EXPECT_EQ(sealed.count(FrameState::kSealed), 3U);
    EXPECT_EQ(sealed.frame(extent.first + 1).state, FrameState::kShared);
    ASSERT_TRUE(frames->note_sealed(false));
    EXPECT_EQ(ledger().count(FrameState::kOwned), 3U);
  }
  ASSERT_TRUE(frames->note_sealed(true));
  ASSERT_TRUE(frames->note_unshared(shared));
  frames->give_back(std::move(extent));
  EXPECT_EQ(settled().count(FrameState::kFree), kFakeFrames);
}

TEST_F(DaemonTest, ADeadMonitorsFramesAreScrubbed) {
  start();
  monitor_with_data(6)->kill_now();
  EXPECT_TRUE(rest_is_zero());
}

// The control: these marks are found where nobody scrubs.
TEST_F(DaemonTest, WithoutScrubbingTheDataIsThere) {
  start(false);
  monitor_with_data(6)->kill_now();
  EXPECT_FALSE(rest_is_zero());
}

TEST_F(DaemonTest, ScrubsEvenIfBothDiedTogether) {
  start();
  auto monitor = monitor_with_data(6);
  daemon_->kill_now();
  monitor->kill_now();
  EXPECT_EQ(ledger().count(FrameState::kOwned), 6U);
  start();
  EXPECT_TRUE(rest_is_zero());
}

TEST_F(DaemonTest, ALivingMonitorsFramesOutliveTheDaemon) {
  start();
  const auto frames = connect();
  const Extent extent = frames->take(6).value();
  plant(extent);
  daemon_->kill_now();
  start();
  ASSERT_TRUE(frames->seal({extent.first, 2}));
  EXPECT_FALSE(is_zero(extent));
  EXPECT_EQ(settled().count(FrameState::kOwned), 4U);
  EXPECT_EQ(files(), (std::vector<FrameRun>{{extent.first, 6}}));
}

TEST_F(DaemonTest, OneDaemonAtATime) {
  start();
  connect();
  EXPECT_EQ(lock_runtime_dir(directory_.path()).error().code, Errc::kBusy);
  daemon_->kill_now();
  EXPECT_TRUE(lock_runtime_dir(directory_.path()));
}

TEST_F(DaemonTest, ADamagedLedgerIsRefused) {
  start();
  connect();
  daemon_->kill_now();
  const Fd file = Fd::open((directory_.path() + "/ledger").c_str(), O_RDWR).value();
  const std::uint64_t bad = ~0ULL;
  ASSERT_EQ(::pwrite(file.get(), &bad, 8, ledger::kFrameTable * 8), 8);
  std::vector<PoolSource> pools;
  pools.push_back({.pool = std::make_unique<FakePool>(directory_.path() + "/pool", true)});
  EXPECT_EQ(open_keeper(directory_.path(), std::move(pools), 1).error().code, Errc::kMalformed);
}

// Random operations by a monitor, which checks that what it gets is zero, until it is told to stop;
// then it says what it holds.
void random_monitor(DaemonFrames& frames, int stop_fd, int report_fd, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Extent> held;
  std::uint64_t takes = 0;
  for (pollfd stop{.fd = stop_fd, .events = POLLIN, .revents = 0}; ::poll(&stop, 1, 0) == 0;) {
    if (held.empty() || random() % 2 == 0) {
      auto extent = frames.take(1 + random() % 5);
      if (!extent) {
        CHECK(extent.error().code == Errc::kExhausted);
        if (held.empty()) continue;
      } else {
        CHECK(is_zero(*extent));
        ++takes;
        plant(*extent);
        held.push_back(std::move(*extent));
        continue;
      }
    }
    const std::size_t victim = random() % held.size();
    std::swap(held[victim], held.back());
    CHECK(!is_zero(held.back()));
    frames.give_back(std::move(held.back()));
    held.pop_back();
  }
  // Speaks to the last daemon.
  CHECK(frames.take(kFakeFrames + 1).error().code == Errc::kExhausted);
  for (const Extent& extent : held) {
    const std::uint64_t run[2] = {extent.first.value(), extent.frames};
    CHECK(::write(report_fd, run, sizeof run) == sizeof run);
  }
  const std::uint64_t last[2] = {kEnd, takes};
  CHECK(::write(report_fd, last, sizeof last) == sizeof last);
  ::pause();
}

TEST_F(DaemonTest, KilledAtRandomItLosesAndLeaksNothing) {
  int stop[2];
  int report[2];
  ASSERT_EQ(::pipe2(stop, O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(report, O_CLOEXEC), 0);
  start();
  Child monitor([&] {
    const auto frames = connect();
    random_monitor(*frames, stop[0], report[1], 7);
  });
  ::close(report[1]);
  connect("here");
  std::mt19937 random(8);
  for (int i = 0; i < 60; ++i) {
    ::usleep(static_cast<useconds_t>(random() % 20'000));
    daemon_->kill_now();
    start();
  }
  ASSERT_EQ(::write(stop[1], "x", 1), 1);
  std::vector<FrameRun> held;
  std::uint64_t run[2] = {};
  while (::read(report[0], run, sizeof run) == sizeof run && run[0] != kEnd) {
    held.push_back({FrameIndex(run[0]), run[1]});
  }
  ASSERT_EQ(run[0], kEnd) << "the monitor failed";
  EXPECT_GT(run[1], 0U) << "nothing happened between the kills";
  std::sort(held.begin(), held.end(), [](auto& a, auto& b) { return a.first < b.first; });
  const LedgerView view = settled();
  EXPECT_EQ(runs_of(view), held) << "the ledger and the monitor disagree";
  EXPECT_EQ(files(), held) << "the ledger and the pool disagree";
  std::uint64_t frames = 0;
  for (const FrameRun& extent : held) frames += extent.frames;
  EXPECT_EQ(view.count(FrameState::kFree), kFakeFrames - frames);
  monitor.kill_now();
  EXPECT_TRUE(rest_is_zero());
  for (int end : {stop[0], stop[1], report[0]}) ::close(end);
}

// bulkheadd itself, with a pool of real memory.
TEST_F(DaemonTest, TheProgramOutlivesAKillAndEndsByASignal) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can mount a pool";
  const auto program = [&] {
    const std::string directory = "--runtime-dir=" + directory_.path();
    ::execl(BULKHEADD_PROGRAM, "bulkheadd", "--pool=memfd:48M", directory.c_str(), "--group=none",
            nullptr);
  };
  auto first = std::make_unique<Child>(program);
  int status = 0;
  for (int i = 0; i < 3000 && !DaemonFrames::connect(options()); ++i) {
    if (::waitpid(first->pid(), &status, WNOHANG) != 0) GTEST_SKIP() << "no mounts here";
    ::usleep(10'000);
  }
  constexpr std::uint64_t victims = 6;
  auto victim = monitor_with_data(victims);
  const auto frames = connect();
  const Extent mine = frames->take(2).value();
  plant(mine);
  first->kill_now();
  victim->kill_now();
  Child second(program);
  EXPECT_FALSE(is_zero(mine));
  for (std::uint64_t count : {victims, kFakeFrames - victims - 2}) {
    const auto rest = frames->take(count);
    ASSERT_TRUE(rest) << rest.error().what;
    EXPECT_TRUE(is_zero(*rest));
  }
  ::kill(second.pid(), SIGTERM);
  EXPECT_EQ(second.wait(), 0);
  EXPECT_EQ(ledger().count(FrameState::kOwned), kFakeFrames);
}

// With an /etc/group of its own.
TEST_F(DaemonTest, TheProgramIsRootsAloneWithoutTheDefaultGroup) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can mount";
  const std::string log = directory_.path() + "/log";
  const std::string groups = directory_.path() + "/group";
  std::ofstream(groups) << "root:x:0:\n";
  Child daemon([&] {
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount(groups.c_str(), "/etc/group", nullptr, MS_BIND, nullptr) != 0 ||
        std::freopen(log.c_str(), "w", stderr) == nullptr) {
      ::_exit(3);
    }
    const std::string directory = "--runtime-dir=" + directory_.path();
    ::execl(BULKHEADD_PROGRAM, "bulkheadd", "--pool=memfd:4M", directory.c_str(), nullptr);
  });
  int status = 0;
  for (int i = 0; i < 3000 && !DaemonFrames::connect(options()); ++i) {
    if (::waitpid(daemon.pid(), &status, WNOHANG) != 0) GTEST_SKIP() << "no mounts here";
    ::usleep(10'000);
  }
  struct stat socket{};
  ASSERT_EQ(::stat(options().socket_path.c_str(), &socket), 0);
  EXPECT_EQ(socket.st_mode & 0777, 0600U);
  std::stringstream said;
  said << std::ifstream(log).rdbuf();
  EXPECT_NE(said.str().find("only-root-may-connect missing_group=kvm"), std::string::npos)
      << said.str();
}

TEST_F(DaemonTest, AForeignUserIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  start();
  connect();
  ASSERT_EQ(::chmod(directory_.path().c_str(), 0755), 0);
  ASSERT_EQ(::chmod((directory_.path() + "/socket").c_str(), 0666), 0);
  Child stranger([&] {
    if (::setgroups(0, nullptr) != 0 || ::setresgid(65534, 65534, 65534) != 0 ||
        ::setresuid(65534, 65534, 65534) != 0) {
      ::_exit(3);
    }
    const auto frames = DaemonFrames::connect(options("stranger"));
    ::_exit(frames ? 1 : frames.error().code == Errc::kClosed ? 0 : 2);
  });
  EXPECT_EQ(stranger.wait(), 0);
  EXPECT_EQ(ledger().partitions().size(), 1U);
}

}  // namespace
}  // namespace bulkhead::daemon
