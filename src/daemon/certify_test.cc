// SPDX-License-Identifier: Apache-2.0
// Who gets certificates from the daemon, and who does not: real processes, each attack with a
// control in which the check that stops it is off.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <ctime>
#include <fstream>

#include "crypto/signing_key.h"
#include "daemon/fakes_for_test.h"
#include "hostca/enrolment.h"
#include "hostca/templates.h"
#include "mem/daemon_connection.h"

namespace bulkhead::daemon {

using namespace hostca;

namespace {

constexpr uid_t kNobody = 65534;
constexpr int kGranted = 0;
constexpr int kRefused = 1;

// A TPM's key of some user's.
Bytes key_of(TpmPublic form) {
  const Bytes info = SigningKey::generate().value().public_info().value();
  const auto point = std::span(info).last(64);
  form.key = TpmEccKey{Curve::kP256, copy_of(point.first(32)), copy_of(point.last(32))};
  return serialize(form);
}

Result<std::unique_ptr<HostCa>> make_ca() {
  auto key = std::make_unique<SoftwareIssuer>(SigningKey::generate().value());
  std::vector<Bytes> own;
  own.push_back(TRY(self_certify(*key, "test", valid_for_days(::time(nullptr), 30))));
  return HostCa::create(std::move(key), std::move(own));
}

class CertifyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    set_log_level(LogLevel::kError);
    if (::geteuid() != 0) GTEST_SKIP() << "needs root, to be different users";
    ASSERT_EQ(::chmod(directory_.path().c_str(), 0711), 0);
    program_ = directory_.path() + "/monitor";
    std::filesystem::copy_file(BULKHEAD_FAKE_MONITOR, program_);
    ASSERT_EQ(::chmod(program_.c_str(), 0755), 0);
    write(keys() + ".ek", endorsement_key_);
    write(keys() + ".ak", attestation_key_);
    keeper_ = make_keeper(directory_.path());
    certifier_ = Certifier::create(*loop_, make_ca).value();
    serve();
  }
  // Switches as given.
  void serve(const MonitorCheck::Switches& switches = {}, bool wants_challenge = true,
             MonitorCheck::Users users = MonitorCheck::Users::kRoot) {
    server_.reset();
    ::unlink(socket().c_str());
    server_ = Server::create(*loop_, *keeper_,
                             {.listener = listen_at(directory_.path(), kNobody).value(),
                              .group = kNobody,
                              .certifier = certifier_.get(),
                              .monitors = MonitorCheck::create(program_, users).value(),
                              .counters = counters_.get(),
                              .switches = switches,
                              .wants_challenge = wants_challenge})
                  .value();
  }
  static void write(const std::string& path, const Bytes& bytes) {
    std::ofstream(path, std::ios::binary)
        .write(static_cast<const char*>(static_cast<const void*>(bytes.data())),
               static_cast<std::streamsize>(bytes.size()));
  }
  std::string socket() const { return directory_.path() + "/socket"; }
  std::string keys() const { return directory_.path() + "/keys"; }

  // Serves until the child has ended. Its exit status.
  int status_of(Child& child) {
    const Fd ended(static_cast<int>(::syscall(SYS_pidfd_open, child.pid(), 0)));
    for (pollfd waiting{ended.get(), POLLIN, 0}; ::poll(&waiting, 1, 0) == 0;) {
      CHECK(loop_->run_once(10));
    }
    const int status = child.wait();
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  void become_monitor(const char* mode) const { become_monitor(mode, keys()); }
  void become_monitor(const char* mode, const std::string& argument) const {
    ::execl(program_.c_str(), "monitor", socket().c_str(), mode, argument.c_str(), nullptr);
    ::_exit(9);
  }
  // The monitor's program has a counter made and counts.
  int counting_monitor() {
    Child child([&] { become_monitor("count", "7"); });
    return status_of(child);
  }
  // The monitor's program asks, for a user.
  int monitor(const char* mode = "ask", uid_t user = 0) {
    Child child([&] {
      if (user != 0) CHECK(::setgid(user) == 0 && ::setuid(user) == 0);
      become_monitor(mode);
    });
    return status_of(child);
  }
  // Another program says the same.
  int other_program() {
    Child child([&] {
      auto connection = Connection::open(socket(), 30);
      const bool granted = connection && connection->certify(endorsement_key_, attestation_key_);
      ::_exit(granted ? kGranted : kRefused);
    });
    return status_of(child);
  }

  // A debugger starts the monitor's program, and lets it run.
  int traced() {
    Child child([&] {
      const pid_t pid = ::fork();
      if (pid == 0) {
        ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        become_monitor("ask");
      }
      int status = 0;
      while (::waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
        const int signal = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
        ::ptrace(PTRACE_CONT, pid, nullptr, signal);
      }
      ::_exit(WEXITSTATUS(status));
    });
    return status_of(child);
  }

  // The two attacks in which the process becomes the monitor after it connected.
  Fd connect_raw() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, socket().c_str(), socket().size());
    Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET, 0));
    CHECK(::connect(fd.get(), static_cast<const sockaddr*>(static_cast<const void*>(&address)),
                    sizeof address) == 0);
    return fd;
  }
  template <std::size_t N>
  static void say(const Fd& fd, const MessageWriter<N>& message) {
    CHECK(::send(fd.get(), message.bytes().data(), message.bytes().size(), 0) > 0);
  }
  // The answer's status; its body goes to `body`.
  static std::uint32_t hear(const Fd& fd, std::vector<std::byte>& body) {
    body.resize(kMaxReply);
    const ssize_t got = ::recv(fd.get(), body.data(), body.size(), 0);
    CHECK(got >= static_cast<ssize_t>(kHeaderBytes));
    body.resize(static_cast<std::size_t>(got));
    const auto status = get_le<std::uint32_t>(body, 0);
    body.erase(body.begin(), body.begin() + kHeaderBytes);
    return status;
  }
  static void say_hello(const Fd& fd) {
    MessageWriter<16> hello(static_cast<std::uint32_t>(Request::kHello), 1);
    say(fd, hello.put(kProtocolVersion).put(std::uint32_t{0}));
  }
  void ask(const Fd& fd, std::span<const std::byte> nonce) const {
    MessageWriter<4096> request(static_cast<std::uint32_t>(Request::kCertify), 2);
    request.put(nonce).put(static_cast<std::uint32_t>(endorsement_key_.size()));
    request.put(static_cast<std::uint32_t>(attestation_key_.size()));
    say(fd, request.put(std::span<const std::byte>(endorsement_key_))
                .put(std::span<const std::byte>(attestation_key_)));
  }
  // Asks, then becomes the monitor, while an accomplice has the connection, too, and listens. The
  // accomplice's exit status says what came. `accomplice` is given the connection and goes on from
  // there once the other one is the monitor.
  int with_accomplice(const std::function<void(const Fd&)>& before,
                      const std::function<int(const Fd&)>& accomplice) {
    int became[2];
    int asked[2];
    CHECK(::pipe2(became, O_CLOEXEC) == 0 && ::pipe(asked) == 0);
    Child child([&] {
      const Fd fd = connect_raw();
      before(fd);
      const pid_t other = ::fork();
      if (other != 0) become_monitor("wait");
      ::close(became[1]);
      char byte = 0;
      while (::read(became[0], &byte, 1) > 0)
        continue;  // until the other one's end is closed: exec
      const int status = accomplice(fd);
      CHECK(::write(asked[1], &status, sizeof status) == sizeof status);
      ::_exit(0);
    });
    ::close(became[1]);
    char byte = 0;
    while (::read(became[0], &byte, 1) > 0) continue;  // so that nothing is served too early
    int status = -1;
    for (pollfd waiting{asked[0], POLLIN, 0}; ::poll(&waiting, 1, 0) == 0;) {
      CHECK(loop_->run_once(10));
    }
    EXPECT_EQ(::read(asked[0], &status, sizeof status), static_cast<ssize_t>(sizeof status));
    for (int fd : {became[0], asked[0], asked[1]}) ::close(fd);
    return status;
  }
  int asks_first_and_becomes_the_monitor_then() {
    return with_accomplice(
        [&](const Fd& fd) {
          say_hello(fd);
          ask(fd, Bytes(kNonceBytes));
        },
        [](const Fd& fd) {
          std::vector<std::byte> body;
          CHECK(hear(fd, body) == 0);
          return hear(fd, body) == 0 ? kGranted : kRefused;
        });
  }
  int lets_an_accomplice_ask() {
    return with_accomplice(
        [&](const Fd& fd) {
          say_hello(fd);
          say(fd, MessageWriter<8>(static_cast<std::uint32_t>(Request::kChallenge), 1));
        },
        [&](const Fd& fd) {
          std::vector<std::byte> nonce;
          CHECK(hear(fd, nonce) == 0);
          if (hear(fd, nonce) != 0) return 5;
          ask(fd, nonce);
          return hear(fd, nonce) == 0 ? kGranted : kRefused;
        });
  }

  TempDir directory_;
  std::string program_;
  const Bytes endorsement_key_ = key_of(ecc_endorsement_template());
  const Bytes attestation_key_ = key_of(attestation_key_template());
  std::unique_ptr<EventLoop> loop_ = EventLoop::create().value();
  std::unique_ptr<FrameKeeper> keeper_;
  std::unique_ptr<Certifier> certifier_;
  std::unique_ptr<HostCounters> counters_;
  std::unique_ptr<Server> server_;
};

TEST_F(CertifyTest, TheMonitorGetsThem) {
  EXPECT_EQ(monitor(), kGranted);
}

TEST_F(CertifyTest, AnotherProgramDoesNot) {
  EXPECT_EQ(other_program(), kRefused);
  serve({.program = false});
  EXPECT_EQ(other_program(), kGranted);
}

TEST_F(CertifyTest, AnotherCopyOfTheProgramDoesNot) {
  const std::string own = program_;
  program_ += "-of-a-user";
  std::filesystem::copy_file(own, program_);
  EXPECT_EQ(monitor(), kRefused);
  serve();  // the control: that copy is the monitor now
  EXPECT_EQ(monitor(), kGranted);
}

TEST_F(CertifyTest, AnotherUsersMonitorDoesNot) {
  EXPECT_EQ(monitor("ask", kNobody), kRefused);
  serve({}, true, MonitorCheck::Users::kAnybody);
  EXPECT_EQ(monitor("ask", kNobody), kGranted);
}

TEST_F(CertifyTest, AMonitorThatItsUserCanLookIntoDoesNot) {
  serve({}, true, MonitorCheck::Users::kAnybody);
  EXPECT_EQ(monitor("ask-dumpable", kNobody), kRefused);
  serve({.dumpable = false}, true, MonitorCheck::Users::kAnybody);
  EXPECT_EQ(monitor("ask-dumpable", kNobody), kGranted);
}

TEST_F(CertifyTest, ATracedOneDoesNot) {
  EXPECT_EQ(traced(), kRefused);
  serve({.traced = false});
  EXPECT_EQ(traced(), kGranted);
}

TEST_F(CertifyTest, OneThatAskedBeforeItWasTheMonitorDoesNot) {
  EXPECT_EQ(asks_first_and_becomes_the_monitor_then(), kRefused);
  serve({}, false);
  EXPECT_EQ(asks_first_and_becomes_the_monitor_then(), kGranted);
}

TEST_F(CertifyTest, AnAccompliceWithItsConnectionDoesNot) {
  EXPECT_EQ(lets_an_accomplice_ask(), kRefused);
  serve({.sender = false});
  EXPECT_EQ(lets_an_accomplice_ask(), kGranted);
}

TEST_F(CertifyTest, AProgramThatOthersCanChangeIsNoMonitor) {
  ASSERT_EQ(::chmod(program_.c_str(), 0775), 0);
  EXPECT_EQ(MonitorCheck::create(program_, MonitorCheck::Users::kRoot).error().code,
            Errc::kPermission);
  ASSERT_EQ(::chmod(program_.c_str(), 0755), 0);
  EXPECT_TRUE(MonitorCheck::create(program_, MonitorCheck::Users::kRoot));
  ASSERT_EQ(::chown(program_.c_str(), kNobody, 0), 0);
  EXPECT_FALSE(MonitorCheck::create(program_, MonitorCheck::Users::kRoot));
}

// A slow TPM makes nobody wait but who asked it.
TEST_F(CertifyTest, OthersAreServedMeanwhile) {
  const Fd go = Fd::event().value();
  server_.reset();
  certifier_ = Certifier::create(*loop_, [&] {
                 for (pollfd waiting{go.get(), POLLIN, 0}; ::poll(&waiting, 1, -1) != 1;) continue;
                 return make_ca();
               }).value();
  serve();
  Child asking([&] { become_monitor("ask"); });
  Child other([&] { ::_exit(Connection::open(socket(), 30)->pools() ? 0 : 1); });
  EXPECT_EQ(status_of(other), 0);
  signal_event(go.get());
  EXPECT_EQ(status_of(asking), kGranted);
}

TEST_F(CertifyTest, AClientThatWentAwayIsForgotten) {
  const Fd go = Fd::event().value();
  server_.reset();
  certifier_ = Certifier::create(*loop_, [&] {
                 for (pollfd waiting{go.get(), POLLIN, 0}; ::poll(&waiting, 1, -1) != 1;) continue;
                 return make_ca();
               }).value();
  serve();
  {
    Child asking([&] { become_monitor("ask"); });
    for (int i = 0; i < 50; ++i) ASSERT_TRUE(loop_->run_once(10));
  }
  signal_event(go.get());
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(loop_->run_once(10));
  EXPECT_EQ(monitor(), kGranted);
}

TEST_F(CertifyTest, TheMonitorHasCounters) {
  EXPECT_EQ(counting_monitor(), kRefused);  // this daemon keeps none
  std::uint64_t value = 100;
  std::vector<CounterAction> asked;
  server_.reset();
  counters_ = HostCounters::create(*loop_, [&](const CounterRequest& request) {
                asked.push_back(request.action);
                return Result<CounterValue>(CounterValue{7, ++value});
              }).value();
  serve();
  EXPECT_EQ(counting_monitor(), kGranted);
  EXPECT_EQ(asked, (std::vector{CounterAction::kMake, CounterAction::kStep}));
  // Another program says the same.
  const auto other = [&] {
    Child child([&] {
      auto connection = Connection::open(socket(), 30);
      const std::array<std::byte, kCounterPasswordBytes> secret{};
      ::_exit(connection && connection->count(CounterAction::kRead, 7, secret) ? kGranted
                                                                               : kRefused);
    });
    return status_of(child);
  };
  EXPECT_EQ(other(), kRefused);
  serve({.program = false});
  EXPECT_EQ(other(), kGranted);
}

TEST_F(CertifyTest, AHostThatIsNotEnrolledSaysSo) {
  server_.reset();
  certifier_ = Certifier::create(*loop_, []() -> Result<std::unique_ptr<HostCa>> {
                 return Error{Errc::kNotFound, 0, "not enrolled"};
               }).value();
  serve();
  EXPECT_EQ(monitor(), kRefused);
}

}  // namespace
}  // namespace bulkhead::daemon
