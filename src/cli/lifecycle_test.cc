// SPDX-License-Identifier: Apache-2.0
// A partition's life as the command line sees it: on a terminal, in a pipe, in the background.
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/testing/program.h"
#include "vmm/launch_spec.h"

namespace bulkhead::cli {
namespace {

using testing::Outcome;
using testing::TerminalProgram;

class Lifecycle : public testing::ProgramTest {
 protected:
  std::vector<std::string> run_words(const std::string& cmdline) const {
    return {"run", "--kernel", path("vmlinux"), "--name", "vm", "--cmdline", cmdline};
  }
  // The specification that the monitor got.
  LaunchSpec spec() const {
    std::ifstream file(path("spec"));
    std::stringstream text;
    text << file.rdbuf();
    SpecError error;
    auto parsed = parse_launch_spec(text.str(), error);
    EXPECT_TRUE(parsed.has_value()) << error.message;
    return parsed.value_or(LaunchSpec{});
  }
  pid_t monitor_pid() const {
    std::ifstream file(path("run/vm/pid"));
    pid_t pid = 0;
    file >> pid;
    return pid;
  }
  bool nothing_left() const { return std::filesystem::is_empty(path("run")); }
  static bool gone(pid_t pid) {
    for (int i = 0; i < 2000 && !ended(pid); ++i) ::usleep(5000);
    return ended(pid);
  }
  // In a container, process 1 may leave the ended children that it inherits as they are.
  static bool ended(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string number;
    std::string name;
    char state = 'X';
    return !(file >> number >> name >> state) || state == 'Z' || state == 'X';
  }
};

TEST_F(Lifecycle, TheExitStatusIsTheMonitors) {
  for (int status : {0, 1, 10, 11, 12, 13}) {
    EXPECT_EQ(run({"--cmdline", "fake.exit=" + std::to_string(status)}).status, status);
  }
  EXPECT_EQ(run({"--cmdline", "fake.crash"}).status, 128 + SIGABRT);
  EXPECT_TRUE(nothing_left() || bulkhead({"ps"}).status == 0);
  bulkhead({"ps"});
  EXPECT_TRUE(nothing_left());
}

TEST_F(Lifecycle, ChoicesReachTheMonitor) {
  make_image("root.img", 1 << 20);
  make_image("data.img", 4096);
  write_file("vm.toml",
             "memory = \"512M\"\ncpus = 3\nname = \"fromfile\"\ndisk = [\"root.img\", "
             "\"data.img,ro,queues=2,serial=D1\"]\non-reboot = \"exit\"\n");
  const Outcome outcome =
      run({"--config", path("vm.toml"), "--cpus", "2", "--no-balloon", "--verbose", "--vsock",
           path("v.sock") + ",cid=9", "--cmdline", "fake.exit=0"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const LaunchSpec got = spec();
  EXPECT_EQ(got.name, "fromfile");
  EXPECT_EQ(got.memory_bytes, 512 * kMiB);
  EXPECT_EQ(got.cpus, 2U);
  EXPECT_EQ(got.kernel_kind, KernelKind::kElfPvh);
  ASSERT_EQ(got.disks.size(), 2U);
  EXPECT_FALSE(got.disks[0].read_only);
  EXPECT_TRUE(got.disks[1].read_only);
  EXPECT_FALSE(got.disks[1].discard);
  EXPECT_EQ(got.disks[1].serial, "D1");
  EXPECT_EQ(got.on_reboot, OnReboot::kExit);
  EXPECT_EQ(got.vsock, (VsockSpec{9, path("v.sock")}));
  EXPECT_FALSE(got.balloon);
  EXPECT_TRUE(got.rng);
  EXPECT_EQ(got.log_level, LogLevel::kInfo);
  EXPECT_FALSE(got.console.escapes);
  EXPECT_EQ(got.command_line, "console=hvc0 noapic reboot=panic_warm panic=-1 fake.exit=0");
}

TEST_F(Lifecycle, ConsoleThroughPipesAndFiles) {
  const Outcome outcome = run({"--cmdline", "fake.print=hello fake.exit=0"});
  EXPECT_EQ(outcome.out, "hello");
  EXPECT_EQ(outcome.err, "bulkhead: no bulkheadd: the ledger covers this partition alone\n");
}

TEST_F(Lifecycle, ATerminalIsRawAndThenAsItWas) {
  TerminalProgram program(run_words("fake.echo fake.print=login:"));
  EXPECT_TRUE(program.wait_for("Ctrl-A x"));  // said once, at the start
  EXPECT_TRUE(program.wait_for("login:"));
  EXPECT_TRUE(program.is_raw());
  program.type("typed\x03");
  EXPECT_TRUE(program.wait_for("typed\x03"));  // Ctrl-C is the guest's
  program.type("\x01x");
  EXPECT_EQ(program.wait(), 143);
  EXPECT_FALSE(program.is_raw());
  EXPECT_TRUE(nothing_left());
}

TEST_F(Lifecycle, TheTerminalIsRestoredWhateverHappens) {
  for (const char* behaviour : {"fake.exit=0", "fake.crash", "fake.fail"}) {
    TerminalProgram program(run_words(behaviour));
    const int status = program.wait();
    EXPECT_EQ(status, std::string(behaviour) == "fake.crash"  ? 128 + SIGABRT
                      : std::string(behaviour) == "fake.fail" ? 1
                                                              : 0);
    EXPECT_FALSE(program.is_raw()) << behaviour;
    EXPECT_TRUE(nothing_left()) << behaviour;
  }
}

TEST_F(Lifecycle, SignalsEndThePartitionAndRestoreTheTerminal) {
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    TerminalProgram program(run_words("fake.print=ready"));
    ASSERT_TRUE(program.wait_for("ready"));
    const pid_t monitor = monitor_pid();
    ::kill(program.pid(), signal);
    EXPECT_EQ(program.wait(), 143);
    EXPECT_FALSE(program.is_raw());
    EXPECT_TRUE(gone(monitor));
    EXPECT_TRUE(nothing_left());
  }
}

TEST_F(Lifecycle, ASecondSignalKillsAStubbornMonitor) {
  TerminalProgram program(run_words("fake.stubborn fake.print=ready"));
  ASSERT_TRUE(program.wait_for("ready"));
  ::kill(program.pid(), SIGTERM);
  ::usleep(100000);
  EXPECT_TRUE(program.is_raw());
  ::kill(program.pid(), SIGTERM);
  EXPECT_EQ(program.wait(), 128 + SIGKILL);
  EXPECT_FALSE(program.is_raw());
}

TEST_F(Lifecycle, AKilledMonitorLeavesNothingBehind) {
  TerminalProgram program(run_words("fake.print=ready"));
  ASSERT_TRUE(program.wait_for("ready"));
  ::kill(monitor_pid(), SIGKILL);
  EXPECT_TRUE(program.wait_for("killed by signal 9"));
  EXPECT_EQ(program.wait(), 128 + SIGKILL);
  EXPECT_FALSE(program.is_raw());
  EXPECT_TRUE(nothing_left());
}

TEST_F(Lifecycle, AMonitorDoesNotOutliveItsKilledParent) {
  TerminalProgram program(run_words("fake.print=ready"));
  ASSERT_TRUE(program.wait_for("ready"));
  const pid_t monitor = monitor_pid();
  ::kill(program.pid(), SIGKILL);
  EXPECT_EQ(program.wait(), 128 + SIGKILL);
  EXPECT_TRUE(gone(monitor));
  bulkhead({"ps"});
  EXPECT_TRUE(nothing_left());
}

TEST_F(Lifecycle, StoppingRestoresTheTerminalForTheWhile) {
  TerminalProgram program(run_words("fake.print=ready"));
  ASSERT_TRUE(program.wait_for("ready"));
  ::kill(program.pid(), SIGTSTP);
  EXPECT_TRUE(program.becomes_raw(false));
  int status = 0;
  ASSERT_EQ(::waitpid(program.pid(), &status, WUNTRACED), program.pid());
  EXPECT_TRUE(WIFSTOPPED(status));
  ::kill(program.pid(), SIGCONT);
  EXPECT_TRUE(program.becomes_raw(true));
  program.type("\x01x");
  EXPECT_EQ(program.wait(), 143);
}

TEST_F(Lifecycle, DetachedPartitionsAreListedAndStopped) {
  start_detached("web", "fake.print=booted");
  start_detached("db");
  const Outcome table = bulkhead({"ps"});
  EXPECT_NE(table.out.find("web "), std::string::npos);
  EXPECT_NE(table.out.find("256M"), std::string::npos);
  const auto list = nlohmann::json::parse(bulkhead({"ps", "--json"}).out);
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0]["name"], "db");
  EXPECT_EQ(list[1]["state"], "running");
  EXPECT_EQ(list[1]["cpus"], 1);
  EXPECT_EQ(bulkhead({"stop", "web"}).status, 0);
  EXPECT_EQ(nlohmann::json::parse(bulkhead({"ps", "--json"}).out).size(), 1U);
  EXPECT_EQ(bulkhead({"stop", "web"}).status, 1);
  EXPECT_EQ(bulkhead({"stop", "db", "--force"}).status, 0);
  EXPECT_EQ(bulkhead({"ps", "--json"}).out, "[]\n");
  EXPECT_TRUE(nothing_left());
}

TEST_F(Lifecycle, PartitionsAreSuspendedAndResumed) {
  start_detached("web");
  const Outcome suspended = bulkhead({"suspend", "web"});
  EXPECT_EQ(suspended.status, 0) << suspended.err;
  EXPECT_TRUE(suspended.out.starts_with("web is suspended: ")) << suspended.out;
  EXPECT_EQ(bulkhead({"resume", "web"}).status, 0);
  EXPECT_EQ(bulkhead({"resize", "web", "256M"}).out, "web has 256M\n");
  EXPECT_EQ(bulkhead({"resize", "web", "many"}).status, 2);
  EXPECT_EQ(bulkhead({"shared", "web"}).status, 0);
  EXPECT_EQ(bulkhead({"shared", "web", "--read", "0"}).status, 2);
  EXPECT_EQ(bulkhead({"suspend", "nobody"}).status, 1);
}

TEST_F(Lifecycle, KeyFilesAreMadeUsedAndErased) {
  EXPECT_EQ(bulkhead({"key", "create", path("key")}).status, 0);
  EXPECT_EQ(std::filesystem::file_size(path("key")), 32U);
  EXPECT_EQ(bulkhead({"key", "create", path("key")}).status, 1) << "nothing is overwritten";
  EXPECT_EQ(run({"--key-file", path("key"), "--cmdline", "fake.exit=0"}).status, 0);
  ASSERT_EQ(::chmod(path("key").c_str(), 0644), 0);
  const Outcome open = run({"--key-file", path("key"), "--cmdline", "fake.exit=0"});
  EXPECT_EQ(open.status, 2);
  EXPECT_NE(open.err.find("chmod 600"), std::string::npos) << open.err;
  EXPECT_EQ(bulkhead({"key", "erase", path("key")}).status, 1);
  ASSERT_EQ(::chmod(path("key").c_str(), 0600), 0);
  EXPECT_EQ(bulkhead({"key", "erase", path("key")}).status, 0);
  EXPECT_FALSE(std::filesystem::exists(path("key")));
}

TEST_F(Lifecycle, ATpmsFilesAreMadeAndHandedOver) {
  ASSERT_EQ(bulkhead({"key", "create", path("key")}).status, 0);
  EXPECT_EQ(run({"--cmdline", "fake.exit=0"}).status, 0);
  EXPECT_FALSE(spec().tpm);
  EXPECT_EQ(run({"--tpm", "--cmdline", "fake.exit=0"}).status, 0);
  ASSERT_TRUE(spec().tpm);
  EXPECT_EQ(spec().tpm->state_fd, -1);
  const Outcome lasting =
      run({"--tpm-state", path("tpm"), "--key-file", path("key"), "--cmdline", "fake.exit=0"});
  EXPECT_EQ(lasting.status, 0) << lasting.err;
  ASSERT_TRUE(spec().tpm);
  EXPECT_GE(spec().tpm->state_fd, 0);
  for (const char* file : {"tpm", "tpm.counter"}) {
    EXPECT_EQ(std::filesystem::status(path(file)).permissions() & std::filesystem::perms::all,
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  }
  EXPECT_EQ(run({"--tpm-state", path("run"), "--key-file", path("key")}).status, 2);
}

TEST_F(Lifecycle, AGuestThatIgnoresThePowerButtonIsForced) {
  start_detached("web", "fake.stubborn");
  const Outcome outcome = bulkhead({"stop", "web", "--timeout", "1"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_NE(outcome.err.find("did not power off within 1 s"), std::string::npos);
  EXPECT_TRUE(nothing_left());
}

TEST_F(Lifecycle, AGuestThatBootsMissesThePowerButton) {
  start_detached("web", "fake.booting");
  const Outcome outcome = bulkhead({"stop", "web"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.err, "");
  EXPECT_TRUE(nothing_left());
}

TEST_F(Lifecycle, AStoppedMonitorIsListedAndCanBeForced) {
  start_detached("vm");
  ::kill(monitor_pid(), SIGSTOP);
  EXPECT_NE(bulkhead({"ps"}).out.find("unresponsive"), std::string::npos);
  EXPECT_EQ(bulkhead({"stop", "vm", "--force"}).status, 0);
  EXPECT_TRUE(nothing_left());
}

TEST_F(Lifecycle, DetachTellsWhyItFailed) {
  const Outcome outcome = run({"--detach", "--name", "web", "--cmdline", "fake.fail"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_NE(outcome.err.find("the fake guest does not start"), std::string::npos) << outcome.err;
  EXPECT_TRUE(nothing_left());
}

TEST_F(Lifecycle, ADeadPartitionsNameIsFree) {
  start_detached("vm");
  const pid_t monitor = monitor_pid();
  ::kill(monitor, SIGKILL);
  ASSERT_TRUE(gone(monitor));
  EXPECT_TRUE(std::filesystem::exists(path("run/vm/control.sock")));
  EXPECT_EQ(run({"--name", "vm", "--cmdline", "fake.exit=0"}).status, 0);
  EXPECT_TRUE(nothing_left());
}

TEST_F(Lifecycle, TheRuntimeDirectoryIsPrivate) {
  start_detached("vm");
  for (const char* name : {"run", "run/vm"}) {
    struct stat status{};
    ASSERT_EQ(::stat(path(name).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0700U) << name;
  }
}

TEST_F(Lifecycle, ConsoleAttachesAndLeaves) {
  start_detached("web", "fake.echo fake.print=booted");
  TerminalProgram console({"console", "web"});
  EXPECT_TRUE(console.wait_for("booted"));
  EXPECT_TRUE(console.becomes_raw(true));
  console.type("typed\x01h");
  EXPECT_TRUE(console.wait_for("typed"));
  EXPECT_TRUE(console.wait_for("leave the console"));
  console.type("\x01x");
  EXPECT_EQ(console.wait(), 0);
  EXPECT_FALSE(console.is_raw());
  TerminalProgram again({"console", "web"});
  EXPECT_TRUE(again.wait_for("typed"));  // the history
  EXPECT_EQ(bulkhead({"stop", "web"}).status, 0);
  EXPECT_EQ(again.wait(), 0);
  EXPECT_FALSE(again.is_raw());
  EXPECT_EQ(bulkhead({"console", "web"}).status, 1);
}

TEST_F(Lifecycle, ConsoleLogOfADetachedPartition) {
  start_detached("vm", "fake.print=booted");
  std::string text;
  for (int i = 0; i < 1000 && text.empty(); ++i) {
    std::ifstream(path("run/vm/console.log")) >> text;
    ::usleep(5000);
  }
  EXPECT_EQ(text, "booted");
}

TEST_F(Lifecycle, AutomaticNamesAreDistinct) {
  for (const char* expected : {"p1\n", "p2\n", "p3\n"}) {
    const Outcome outcome = run({"--detach"});
    EXPECT_EQ(outcome.out, expected);
    detached_.push_back(outcome.out.substr(0, outcome.out.size() - 1));
  }
}

// The process of passt that was started with this text among its arguments, or 0.
pid_t passt_with(const std::string& argument) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "cmdline");
    const std::string words{std::istreambuf_iterator<char>(file), {}};
    if (words.starts_with("passt") && words.find(argument) != std::string::npos) {
      return std::stoi(entry.path().filename());
    }
  }
  return 0;
}

TEST_F(Lifecycle, PasstEndsWithTheMonitor) {
  if (::access("/usr/bin/passt", X_OK) != 0) GTEST_SKIP() << "passt is not installed";
  const Outcome outcome = run({"--detach", "--name", "vm", "--net", "passt,tcp=39217:22"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const LaunchSpec got = spec();
  ASSERT_EQ(got.nets.size(), 1U);
  EXPECT_EQ(got.nets[0].kind, NetKind::kStream);
  EXPECT_EQ(got.nets[0].mac[0] & 3, 2);
  const pid_t passt = passt_with("39217:22");
  ASSERT_NE(passt, 0);
  ::kill(monitor_pid(), SIGKILL);
  EXPECT_TRUE(gone(passt));
}

TEST_F(Lifecycle, VersionAndHelp) {
  EXPECT_EQ(bulkhead({"version"}).out, bulkhead({"--version"}).out);
  for (const char* command : {"run", "ps", "stop", "console", "doctor", "lab"}) {
    const Outcome help = bulkhead({command, "--help"});
    EXPECT_EQ(help.status, 0) << command;
    EXPECT_NE(help.out.find("Example"), std::string::npos) << command;
  }
}

TEST_F(Lifecycle, LabGetsItsArgumentsUnchanged) {
  std::filesystem::create_directory(path("lab"));
  write_file("lab/run", "#!/bin/sh\nprintf '<%s>' \"$@\"\nexit 7\n");
  ASSERT_EQ(::chmod(path("lab/run").c_str(), 0700), 0);
  ::setenv("BULKHEAD_LAB", path("lab").c_str(), 1);
  const Outcome outcome = bulkhead({"lab", "run", "--help", "", "--", "a b", "--json"});
  ::unsetenv("BULKHEAD_LAB");
  EXPECT_EQ(outcome.status, 7);
  EXPECT_EQ(outcome.out, "<--help><><--><a b><--json>");
}

}  // namespace
}  // namespace bulkhead::cli
