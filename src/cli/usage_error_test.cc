// SPDX-License-Identifier: Apache-2.0
// What the user can get wrong, and what the program says about it.
#include <sys/stat.h>

#include <algorithm>

#include "cli/testing/program.h"

namespace bulkhead::cli {
namespace {

using testing::Outcome;

class UsageErrors : public testing::ProgramTest {
 protected:
  // One line that contains all of the parts, exit status 2, and nothing left behind.
  void expect_error(const Outcome& outcome, const std::vector<std::string>& parts) {
    EXPECT_EQ(outcome.status, 2) << outcome.err;
    EXPECT_TRUE(outcome.err.starts_with("bulkhead: ")) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    for (const std::string& part : parts) {
      EXPECT_NE(outcome.err.find(part), std::string::npos) << part << "\n" << outcome.err;
    }
    EXPECT_TRUE(!std::filesystem::exists(path("run")) || std::filesystem::is_empty(path("run")));
  }
  void expect_run_error(const std::vector<std::string>& arguments,
                        const std::vector<std::string>& parts) {
    expect_error(run(arguments), parts);
  }
};

TEST_F(UsageErrors, CommandLine) {
  expect_error(bulkhead({}), {"bulkhead --help"});
  expect_error(bulkhead({"fly"}), {"fly"});
  expect_error(bulkhead({"run"}), {"no kernel given", "--kernel FILE"});
  expect_error(bulkhead({"run", "--kernal", "x"}), {"--kernal"});
  expect_error(bulkhead({"stop"}), {"NAME"});
  expect_error(bulkhead({"lab", "dance"}), {"lab run"});
  expect_error(bulkhead({"lab"}), {"lab run"});
  expect_error(bulkhead({"ledger"}), {"subcommand"});
  expect_error(bulkhead({"ledger", "dance"}), {"bulkhead --help"});
  expect_error(bulkhead({"ledger", "map", "--output", "memory.gif"}),
               {"memory.gif", ".svg or .png"});
  expect_run_error({"--memory"}, {"--memory"});
  expect_run_error({"--memory", "512"}, {"has no unit", "512M"});
  expect_run_error({"--memory", "32M"}, {"too little", "64M"});
  expect_run_error({"--memory", "1023G"}, {"more than the host has", "lower --memory"});
  expect_run_error({"--cpus", "17"}, {"1 to 16"});
  expect_run_error({"--name", "a/b"}, {"not a partition name"});
  expect_run_error({"--net", "bridge"}, {"tap=NAME, passt or none"});
}

TEST_F(UsageErrors, Kernel) {
  write_file("text", "this is not a kernel, but it is long enough to be looked at for one");
  write_file("empty", "");
  const auto with_kernel = [this](const std::string& kernel) {
    return bulkhead({"run", "--kernel", kernel});
  };
  expect_error(with_kernel(path("none")), {"kernel '", "No such file", "check the path"});
  expect_error(with_kernel(path("text")), {"kernel '", "not a Linux kernel", "name a bzImage"});
  expect_error(with_kernel(path("empty")), {"is empty"});
  expect_error(with_kernel(directory_), {"not a regular file"});
  expect_error(with_kernel("/dev/null"), {"not a regular file"});
  expect_error(with_kernel(path("bad\nname")), {"bad?name"});
}

TEST_F(UsageErrors, Initrd) {
  expect_run_error({"--initrd", path("none")}, {"initrd '", "No such file"});
  make_image("big", 300 << 20);
  expect_run_error({"--initrd", path("big")}, {"300 MiB", "do not fit into 256 MiB", "--memory"});
}

TEST_F(UsageErrors, Disks) {
  expect_run_error({"--disk", path("none")}, {"disk '", "No such file"});
  expect_run_error({"--disk", directory_}, {"disk '"});
  expect_run_error({"--disk", "/dev/null"}, {"not a regular file or a block device"});
  make_image("odd", 1000);
  expect_run_error({"--disk", path("odd")}, {"1000 bytes", "multiple of 512", "truncate -s %512"});
  make_image("empty", 0);
  expect_run_error({"--disk", path("empty")}, {"is empty", "truncate"});
  std::string qcow2("QFI\xfb\0\0\0\3", 8);
  qcow2.resize(1024);
  write_file("q.qcow2", qcow2);
  expect_run_error({"--disk", path("q.qcow2")}, {"qcow2", "qemu-img convert -O raw"});
  make_image("fifo-free", 512);
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  expect_run_error({"--disk", path("fifo")}, {"not a regular file or a block device"});
  expect_run_error({"--disk", path("fifo-free"), "--disk", path("fifo-free")},
                   {"in use by another partition", "given twice"});
}

TEST_F(UsageErrors, DisksOfOtherPartitions) {
  make_image("a", 4096);
  ASSERT_EQ(run({"--detach", "--name", "owner", "--disk", path("a")}).status, 0);
  detached_.emplace_back("owner");
  const Outcome writer = run({"--name", "second", "--disk", path("a")});
  EXPECT_EQ(writer.status, 2);
  EXPECT_NE(writer.err.find("in use by another partition"), std::string::npos) << writer.err;
  EXPECT_EQ(run({"--name", "second", "--disk", path("a") + ",ro"}).status, 2);
  EXPECT_EQ(bulkhead({"stop", "owner"}).status, 0);
  // Readers share it.
  ASSERT_EQ(run({"--detach", "--name", "owner", "--disk", path("a") + ",ro"}).status, 0);
  EXPECT_EQ(run({"--disk", path("a") + ",ro", "--cmdline", "fake.exit=0"}).status, 0);
  EXPECT_EQ(run({"--disk", path("a"), "--cmdline", "fake.exit=0"}).status, 2);
}

TEST_F(UsageErrors, Network) {
  expect_run_error({"--net", "tap=nosuchtap0"},
                   {"no TAP interface", "ip tuntap add dev nosuchtap0"});
  expect_run_error({"--net", "tap=lo"}, {"not a TAP interface", "ip tuntap add"});
  expect_run_error({"--net", "tap=../../x"}, {"not an interface's name"});
  expect_run_error({"--net", "tap=averyveryverylongname"}, {"at most 15 characters"});
  ::setenv("PATH", path("").c_str(), 1);
  const Outcome missing = run({"--net", "passt"});
  ::setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
  expect_error(missing, {"passt is not installed", "apt install passt"});
}

TEST_F(UsageErrors, Vsock) {
  expect_run_error({"--vsock", path("none/v.sock")}, {"no socket can be created there"});
  write_file("taken", "x");
  expect_run_error({"--vsock", path("taken")}, {"exists and is in use"});
  EXPECT_TRUE(std::filesystem::exists(path("taken")));
}

TEST_F(UsageErrors, HugePages) {
  expect_run_error({"--backing", "hugetlb", "--memory", "900G"},
                   {"huge pages", "vm.nr_hugepages="});
}

TEST_F(UsageErrors, ConfigFile) {
  expect_run_error({"--config", path("none.toml")}, {"configuration file", "No such file"});
  expect_run_error({"--config", directory_}, {"is a directory"});
  write_file("a.toml", "# comment\nmemroy = \"1G\"\n");
  expect_run_error({"--config", path("a.toml")}, {"a.toml:2:", "'memroy'", "'memory'"});
  write_file("b.toml", "memory = \n");
  expect_run_error({"--config", path("b.toml")}, {"b.toml:1: not valid TOML"});
}

TEST_F(UsageErrors, NameTaken) {
  start_detached("web");
  const Outcome second = run({"--name", "web"});
  EXPECT_EQ(second.status, 2);
  EXPECT_NE(second.err.find("a partition named 'web' is running"), std::string::npos);
  EXPECT_EQ(bulkhead({"ps"}).out.find("unresponsive"), std::string::npos);
}

}  // namespace
}  // namespace bulkhead::cli
