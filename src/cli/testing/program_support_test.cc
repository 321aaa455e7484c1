// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include <array>
#include <chrono>
#include <cstring>
#include <fstream>
#include <sstream>

#include "cli/process.h"
#include "cli/testing/program.h"

namespace bulkhead::cli::testing {
namespace {

constexpr int kPatienceMs = 20000;

void append(std::string& out, std::initializer_list<std::uint64_t> words, std::size_t bytes) {
  for (std::uint64_t word : words) {
    for (std::size_t i = 0; i < bytes; ++i) out.push_back(static_cast<char>(word >> (8 * i)));
  }
}

// An ELF file with one segment at 16 MiB and a PVH entry note: enough to be taken for a kernel.
std::string minimal_kernel() {
  std::string elf(
      "\x7f"
      "ELF\2\1\1",
      7);
  elf.resize(16);
  append(elf, {2, 62}, 2);
  append(elf, {1}, 4);
  append(elf, {0x1000000, 64, 0}, 8);
  append(elf, {0}, 4);
  append(elf, {64, 56, 2, 0, 0, 0}, 2);
  append(elf, {1, 5}, 4);  // PT_LOAD
  append(elf, {0x1000, 0xffffffff81000000, 0x1000000, 16, 4096, 0x200000}, 8);
  append(elf, {4, 4}, 4);  // PT_NOTE
  append(elf, {176, 0, 0, 24, 24, 4}, 8);
  append(elf, {4, 8, 18}, 4);  // XEN_ELFNOTE_PHYS32_ENTRY
  elf.append("Xen\0", 4);
  append(elf, {0x1000000}, 8);
  elf.resize(0x1000);
  elf.append(16, '\xf4');
  return elf;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

void redirect(const std::string& path, int flags, int target) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
  ::dup2(fd, target);
}

int wait_status(pid_t pid) {
  int status = 0;
  for (int waited = 0; waited < kPatienceMs; waited += 5) {
    if (::waitpid(pid, &status, WNOHANG) == pid) return exit_status(status);
    ::usleep(5000);
  }
  ::kill(pid, SIGKILL);
  ::waitpid(pid, &status, 0);
  return -1;
}

}  // namespace

void ProgramTest::SetUp() {
  char name[] = "/tmp/bulkhead-cli-test-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  directory_ = name;
  ::setenv("BULKHEAD_RUNTIME_DIR", path("run").c_str(), 1);
  ::setenv("BULKHEAD_VMM", BULKHEAD_FAKE_VMM, 1);
  ::setenv("FAKE_SPEC_COPY", path("spec").c_str(), 1);
  write_file("vmlinux", minimal_kernel());
}

void ProgramTest::TearDown() {
  for (const std::string& name : detached_) bulkhead({"stop", "--force", name});
  std::filesystem::remove_all(directory_);
}

void ProgramTest::write_file(const std::string& name, std::string_view content) const {
  std::ofstream(path(name), std::ios::binary) << content;
}

void ProgramTest::make_image(const std::string& name, std::uint64_t bytes) const {
  write_file(name, "");
  std::filesystem::resize_file(path(name), bytes);
}

void ProgramTest::exec_bulkhead(const std::vector<std::string>& arguments) {
  std::vector<std::string> all{"bulkhead"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const std::vector<char*> pointers = argument_pointers(all);
  ::execv(BULKHEAD_PROGRAM, pointers.data());
  ::_exit(kExecFailed);
}

Outcome ProgramTest::bulkhead(const std::vector<std::string>& arguments,
                              std::string_view input) const {
  write_file("stdin", input);
  const pid_t pid = ::fork();
  if (pid == 0) {
    redirect(path("stdin"), O_RDONLY, STDIN_FILENO);
    redirect(path("stdout"), O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
    redirect(path("stderr"), O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
    exec_bulkhead(arguments);
  }
  const int status = wait_status(pid);
  return {status, read_file(path("stdout")), read_file(path("stderr"))};
}

Outcome ProgramTest::run(const std::vector<std::string>& arguments, std::string_view input) const {
  std::vector<std::string> all{"run", "--kernel", path("vmlinux")};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return bulkhead(all, input);
}

void ProgramTest::start_detached(const std::string& name, const std::string& cmdline) {
  const Outcome outcome = run({"--detach", "--name", name, "--cmdline", cmdline});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  ASSERT_EQ(outcome.out, name + "\n");
  detached_.push_back(name);
}

TerminalProgram::TerminalProgram(const std::vector<std::string>& arguments) {
  int master = -1;
  int slave = -1;
  EXPECT_EQ(::openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
  master_ = Fd(master);
  slave_ = Fd(slave);
  pid_ = ::fork();
  if (pid_ != 0) return;
  ::login_tty(slave_.release());
  ::close(master);
  std::vector<std::string> all{"bulkhead"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const std::vector<char*> pointers = argument_pointers(all);
  ::execv(BULKHEAD_PROGRAM, pointers.data());
  ::_exit(kExecFailed);
}

TerminalProgram::~TerminalProgram() {
  if (pid_ > 0) wait_status(pid_);
}

void TerminalProgram::type(std::string_view text) const {
  EXPECT_EQ(::write(master_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

bool TerminalProgram::wait_for(std::string_view text) {
  pollfd ready{master_.get(), POLLIN, 0};
  while (seen_.find(text) == std::string::npos) {
    std::array<char, 4096> buffer;
    if (::poll(&ready, 1, kPatienceMs) != 1) return false;
    const ssize_t got = ::read(master_.get(), buffer.data(), buffer.size());
    if (got <= 0) return false;
    seen_.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return true;
}

bool TerminalProgram::is_raw() const {
  termios mode{};
  EXPECT_EQ(::tcgetattr(slave_.get(), &mode), 0);
  return (mode.c_lflag & ICANON) == 0;
}

bool TerminalProgram::becomes_raw(bool raw) const {
  for (int waited = 0; waited < kPatienceMs; waited += 5) {
    if (is_raw() == raw) return true;
    ::usleep(5000);
  }
  return false;
}

int TerminalProgram::wait() {
  return wait_status(std::exchange(pid_, -1));
}

}  // namespace bulkhead::cli::testing
