// SPDX-License-Identifier: Apache-2.0
// The scripts for initramfs-tools, run in a scratch directory that stands for the machine's root.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "broker/testing/shell.h"

namespace bulkhead::agent {
namespace {

using broker::shell;
using broker::ShellResult;

class Initramfs : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* place : {"etc/bulkhead", "usr/sbin", "usr/share/initramfs-tools", "sbin",
                              "bin", "dev/mapper", "out", "sys/kernel/security/tpm0"}) {
      std::filesystem::create_directories(root_ / place);
    }
    write("dev/vda2", "");
    // What these functions of initramfs-tools are for.
    write(
        "usr/share/initramfs-tools/hook-functions",
        "copy_exec() { to=$DESTDIR${2#\"$ROOT\"}; mkdir -p \"${to%/*}\"; cp -- \"$1\" \"$to\"; }\n"
        "copy_libgcc() { :; }\n"
        "manual_add_modules() { echo \"$@\" >>\"$DESTDIR/modules\"; }\n");
    for (const char* name : {"usr/sbin/bulkhead-agent", "sbin/cryptsetup"}) write(name, name);
    program("bulkhead-agent", "printf '<%s>' \"$@\"; echo; [ ! -e " + (root_ / "refuse") + " ]\n");
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(root_ / name.c_str()) << text;
  }
  std::string read(const char* name) const {
    std::ifstream file(root_ / name);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void program(const std::string& name, const std::string& script) const {
    write("bin/" + name, "#!/bin/sh\n" + script);
    CHECK(shell("chmod 755 '" + (root_ / "bin") + "/" + name + "'").status == 0);
  }
  void configure(const std::string& text) const { write("etc/bulkhead/agent.conf", text); }
  // The script, with the scratch directory put before every absolute path.
  ShellResult run(const std::string& script, const std::string& words = "") const {
    const std::string source = BULKHEAD_SOURCE_DIR "/guest/initramfs/" + script;
    const std::string rooted = root_ / "script";
    CHECK(shell("sed -E '1!s#(^|[ =\"])/(etc|usr|sbin|sys|dev|scripts)/#\\1" + root_.path() +
                "/\\2/#g' '" + source + "' >'" + rooted + "'")
              .status == 0);
    return shell("ROOT='" + root_.path() + "' PATH='" + (root_ / "bin") + "':$PATH DESTDIR='" +
                 (root_ / "out") + "' sh '" + rooted + "' " + words + " 2>&1");
  }

  broker::TempDir root_;
};

constexpr const char* kHook = "hooks/bulkhead-agent";
constexpr const char* kBoot = "scripts/local-top/bulkhead-agent";

TEST_F(Initramfs, TheHookPutsEverythingThere) {
  write("etc/ca.pem", "certificates");
  configure("# a comment\nBROKER=vsock:2:8443\nCA=" + (root_ / "etc/ca.pem") + "\n");
  const ShellResult hook = run(kHook);
  ASSERT_EQ(hook.status, 0) << hook.out;
  EXPECT_EQ(read("out/etc/bulkhead/agent.conf"), read("etc/bulkhead/agent.conf"));
  EXPECT_EQ(read("out/etc/bulkhead/broker.pem"), "certificates");
  EXPECT_EQ(read("out/sbin/bulkhead-agent"), "usr/sbin/bulkhead-agent");
  EXPECT_EQ(read("out/sbin/cryptsetup"), "sbin/cryptsetup");
  for (const char* module : {"tpm_crb", "dm_crypt", "vmw_vsock_virtio_transport", "virtio_net"}) {
    EXPECT_NE(read("out/modules").find(module), std::string::npos) << module;
  }
  EXPECT_EQ(run(kHook, "prereqs").out, "\n");
}

TEST_F(Initramfs, TheHookSaysWhatIsMissing) {
  const ShellResult none = run(kHook);
  EXPECT_EQ(none.status, 0);
  EXPECT_NE(none.out.find("asks no broker"), std::string::npos) << none.out;
  EXPECT_FALSE(std::filesystem::exists(root_ / "out/sbin/bulkhead-agent"));
  configure("BROKER=vsock:2:8443\nCA=/no/such/file\n");
  const ShellResult no_ca = run(kHook);
  EXPECT_EQ(no_ca.status, 1);
  EXPECT_NE(no_ca.out.find("CA=/no/such/file"), std::string::npos) << no_ca.out;
}

TEST_F(Initramfs, AtBootEveryDiskIsUnlocked) {
  const std::string disk = root_ / "dev/vda2";
  configure(
      "BROKER=vsock:2:8443\nCA=/etc/x\nSERVER_NAME=broker.example\nTENANT=alice\n"
      "TIMEOUT=9\nPCRS=10,14\nUNLOCK=" +
      disk + " default/disk/key root\nUNLOCK=" + disk + "  default/disk/*  data");
  const ShellResult boot = run(kBoot);
  EXPECT_EQ(boot.status, 0) << boot.out;
  const std::string options = "<unlock><--broker><vsock:2:8443><--ca><" +
                              (root_ / "etc/bulkhead/broker.pem") +
                              "><--server-name><broker.example><--tenant><alice><--timeout><9>"
                              "<--pcrs><10,14><--><" +
                              disk + ">";
  EXPECT_EQ(boot.out,
            options + "<default/disk/key><root>\n" + options + "<default/disk/*><data>\n");
  EXPECT_EQ(run(kBoot, "prereqs").out, "\n");
}

TEST_F(Initramfs, AtBootWhatIsOpenStaysSo) {
  configure("BROKER=vsock:2:1\nUNLOCK=" + (root_ / "dev/vda2") + " a/b/c root\n");
  write("dev/mapper/root", "");
  const ShellResult boot = run(kBoot);
  EXPECT_EQ(boot.status, 0);
  EXPECT_EQ(boot.out, "");
}

TEST_F(Initramfs, AtBootAFailureIsToldAndTheOtherDisksAreTried) {
  const std::string disk = root_ / "dev/vda2";
  write("refuse", "");
  configure("BROKER=vsock:2:1\nUNLOCK=" + disk + " a/b/c root\nUNLOCK=" + disk + " x\n");
  const ShellResult boot = run(kBoot);
  EXPECT_EQ(boot.status, 1);
  EXPECT_NE(boot.out.find("<a/b/c><root>"), std::string::npos) << boot.out;
  EXPECT_NE(boot.out.find("three words, not 2"), std::string::npos) << boot.out;
}

TEST_F(Initramfs, AtBootWhatIsNotUnderstoodOpensNothing) {
  EXPECT_EQ(run(kBoot).out, "") << "without a configuration there is nothing to do";
  for (const char* line : {"UNLOK=x", "broker=vsock:2:1", "BROKER = x", "$(touch x)", " "}) {
    configure("BROKER=vsock:2:1\nUNLOCK=" + (root_ / "dev/vda2") + " a/b/c root\n" + line + "\n");
    const ShellResult boot = run(kBoot);
    EXPECT_EQ(boot.status, 1) << line;
    EXPECT_NE(boot.out.find("line 3: not understood"), std::string::npos) << boot.out;
    EXPECT_EQ(boot.out.find("<unlock>"), std::string::npos) << boot.out;
  }
}

TEST_F(Initramfs, TheExampleIsUnderstood) {
  std::filesystem::copy_file(BULKHEAD_SOURCE_DIR "/guest/initramfs/agent.conf",
                             root_ / "etc/bulkhead/agent.conf");
  EXPECT_EQ(run(kBoot).status, 0);
  // Also with every example in force.
  CHECK(shell("sed -i -E 's/^#([A-Z_]+=)/\\1/; s#=/dev/vda2#=" + (root_ / "dev/vda2") + "#' '" +
              (root_ / "etc/bulkhead/agent.conf") + "'")
            .status == 0);
  const ShellResult boot = run(kBoot);
  EXPECT_EQ(boot.status, 0) << boot.out;
  EXPECT_NE(boot.out.find("<default/disk/key><root>"), std::string::npos) << boot.out;
}

TEST_F(Initramfs, TheScriptsPleaseShellcheck) {
  if (!broker::have("shellcheck")) GTEST_SKIP() << "no shellcheck";
  for (const char* script : {kHook, kBoot}) {
    const ShellResult checked =
        shell(std::string("shellcheck '" BULKHEAD_SOURCE_DIR "/guest/initramfs/") + script + "'");
    EXPECT_EQ(checked.status, 0) << checked.out;
  }
}

}  // namespace
}  // namespace bulkhead::agent
