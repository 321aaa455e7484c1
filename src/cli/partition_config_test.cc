// SPDX-License-Identifier: Apache-2.0
#include "cli/partition_config.h"

#include <gtest/gtest.h>

#include "cli/error.h"
#include "cli/net_setup.h"

namespace bulkhead::cli {
namespace {

template <class F>
std::string message_of(F&& action) {
  try {
    action();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "<no error>";
}

RunOptions with_kernel() {
  RunOptions options;
  options.kernel = "vmlinuz";
  return options;
}

TEST(ParseSize, UnitsAreBinary) {
  EXPECT_EQ(parse_size("--memory", "1K"), 1024U);
  EXPECT_EQ(parse_size("--memory", "256M"), 256 * kMiB);
  EXPECT_EQ(parse_size("--memory", "256MiB"), 256 * kMiB);
  EXPECT_EQ(parse_size("--memory", "4g"), 4 * kGiB);
  EXPECT_EQ(parse_size("--memory", "1T"), 1024 * kGiB);
}

TEST(ParseSize, WhatIsNotASizeIsRefused) {
  for (const char* bad : {"", "M", "-1M", "1.5G", "1 G", "0x10M", "1MB", "1X", "1MiBs", "1iB",
                          "99999999999999999999G", "18014398509481984T", " 1G"}) {
    EXPECT_THROW(parse_size("--memory", bad), UsageError) << bad;
  }
  EXPECT_EQ(message_of([] { parse_size("--memory", "256"); }),
            "--memory '256' has no unit; write 256M or G");
}

TEST(ParseDisk, OptionsAreTakenFromTheEnd) {
  EXPECT_EQ(parse_disk("a.img"), (DiskRequest{.path = "a.img", .serial = {}}));
  EXPECT_EQ(parse_disk("a,b.img,ro"),
            (DiskRequest{.path = "a,b.img", .read_only = true, .serial = {}}));
  EXPECT_EQ(parse_disk("a.img,no-discard,queues=4,serial=X1"),
            (DiskRequest{.path = "a.img", .discard = false, .queues = 4, .serial = "X1"}));
  EXPECT_EQ(parse_disk("a,rw").path, "a,rw");
}

TEST(ParseDisk, BadOptionsAreRefused) {
  for (const char* bad : {"", ",ro", "a,queues=0", "a,queues=17", "a,queues=", "a,queues=x",
                          "a,serial=123456789012345678901", "a,serial=a b"}) {
    EXPECT_THROW(parse_disk(bad), UsageError) << bad;
  }
}

TEST(ParseNet, TapPasstAndNone) {
  EXPECT_FALSE(parse_net("none").has_value());
  const auto tap = parse_net("tap=tap0,mac=02:00:00:Ab:cd:ef");
  ASSERT_TRUE(tap.has_value());
  EXPECT_EQ(tap->tap, "tap0");
  EXPECT_EQ(tap->mac, (MacAddress{2, 0, 0, 0xab, 0xcd, 0xef}));
  const auto passt = parse_net("passt,tcp=2222:22,tcp=80,host-loopback");
  ASSERT_TRUE(passt.has_value());
  EXPECT_EQ(passt->kind, NetKind::kStream);
  EXPECT_EQ(passt->tcp_forwards, (std::vector<std::string>{"2222:22", "80"}));
  EXPECT_TRUE(passt->host_loopback);
}

TEST(ParseNet, TheRestIsRefused) {
  for (const char* bad : {"", "tap", "tap=", "user", "none,mac=02:00:00:00:00:01", "tap=a,tcp=80",
                          "passt,", "passt,tcp=", "passt,tcp=0", "passt,tcp=65536", "passt,tcp=1:",
                          "passt,tcp=1:2:3", "passt,tcp=--help", "tap=a,mac=02:00:00:00:00",
                          "tap=a,mac=03:00:00:00:00:01", "tap=a,mac=00:00:00:00:00:00",
                          "tap=a,mac=02-00-00-00-00-01", "tap=a,mac=02:00:00:00:00:0g"}) {
    EXPECT_THROW(parse_net(bad), UsageError) << bad;
  }
}

TEST(ParseVsock, PathAndCid) {
  EXPECT_EQ(parse_vsock("/tmp/v"), (VsockSpec{3, "/tmp/v"}));
  EXPECT_EQ(parse_vsock("/tmp/v,cid=7"), (VsockSpec{7, "/tmp/v"}));
  EXPECT_TRUE(parse_vsock("v").socket_path.starts_with('/'));
  for (const char* bad : {"", ",cid=5", "/v,cid=2", "/v,cid=4294967295", "/v,cid=x"}) {
    EXPECT_THROW(parse_vsock(bad), UsageError) << bad;
  }
  EXPECT_THROW(parse_vsock("/" + std::string(kMaxVsockPath, 'v')), UsageError);
}

TEST(Understand, HasSafeDefaults) {
  const PartitionConfig config = understand(with_kernel());
  EXPECT_EQ(config.memory_bytes, 256 * kMiB);
  EXPECT_EQ(config.cpus, 1U);
  EXPECT_TRUE(config.nets.empty());
  EXPECT_TRUE(config.balloon);
  EXPECT_TRUE(config.rng);
  EXPECT_EQ(config.command_line, "console=hvc0 noapic reboot=panic_warm panic=-1");
}

TEST(Understand, NamesARootOnlyWhenThereIsNoDoubt) {
  RunOptions options = with_kernel();
  options.disks = {"a.img"};
  const std::string defaults = "console=hvc0 noapic reboot=panic_warm panic=-1";
  EXPECT_EQ(understand(options).command_line, defaults + " root=/dev/vda rw");
  options.disks = {"a.img,ro"};
  EXPECT_EQ(understand(options).command_line, defaults + " root=/dev/vda ro");
  options.cmdline = "root=/dev/vda1";
  EXPECT_EQ(understand(options).command_line, defaults + " root=/dev/vda1");
  options.cmdline = "quiet";
  options.initrd = "initrd.img";
  EXPECT_EQ(understand(options).command_line, defaults + " quiet");
  options.initrd.reset();
  options.disks = {"a.img", "b.img"};
  EXPECT_EQ(understand(options).command_line, defaults + " quiet");
  options.cmdline_raw = true;
  options.disks = {"a.img"};
  EXPECT_EQ(understand(options).command_line, "quiet");
}

TEST(Understand, RefusesWhatIsOutOfRange) {
  const auto refuses = [](auto change) {
    RunOptions options = with_kernel();
    change(options);
    return message_of([&] { understand(options); });
  };
  EXPECT_EQ(refuses([](RunOptions& o) { o.kernel.reset(); }),
            "no kernel given; name one with --kernel FILE (see bulkhead run --help)");
  EXPECT_EQ(refuses([](RunOptions& o) { o.memory = "32M"; }),
            "--memory 32M is too little; a partition needs at least 64M");
  EXPECT_EQ(refuses([](RunOptions& o) { o.memory = "2T"; }),
            "--memory 2T is too much; a partition has at most 1024G");
  EXPECT_EQ(refuses([](RunOptions& o) { o.memory = "65M"; }),
            "--memory 65M is not a multiple of 2 MiB; round it");
  EXPECT_EQ(refuses([](RunOptions& o) { o.cpus = "0"; }),
            "--cpus '0' is not a number from 1 to 16");
  EXPECT_EQ(refuses([](RunOptions& o) { o.cpus = "17"; }),
            "--cpus '17' is not a number from 1 to 16");
  EXPECT_EQ(refuses([](RunOptions& o) { o.backing = "file"; }),
            "--backing 'file' is not memfd or hugetlb or carved");
  EXPECT_EQ(refuses([](RunOptions& o) { o.on_reboot = "halt"; }),
            "--on-reboot 'halt' is not restart or exit");
  EXPECT_EQ(refuses([](RunOptions& o) { o.unpack = "always"; }),
            "--unpack 'always' is not auto or never");
  EXPECT_EQ(refuses([](RunOptions& o) { o.disks.assign(9, "d"); }),
            "too many disks; a partition has at most 8");
  EXPECT_EQ(refuses([](RunOptions& o) { o.nets.assign(5, "passt"); }),
            "too many network interfaces; a partition has at most 4");
  EXPECT_EQ(refuses([](RunOptions& o) { o.debug = {"hang"}; }),
            "--debug has no knob 'hang'; see bulkhead run --help");
  EXPECT_TRUE(refuses([](RunOptions& o) { o.name = "../x"; }).starts_with("'../x' is not a parti"));
  EXPECT_TRUE(
      refuses([](RunOptions& o) { o.name = ""; }).starts_with("'' is not a partition name"));
  EXPECT_EQ(refuses([](RunOptions& o) { o.cmdline = "a\nb"; }),
            "--cmdline contains a control character; put all parameters on one line");
  EXPECT_TRUE(refuses([](RunOptions& o) {
                o.cmdline = std::string(2100, 'x');
              }).starts_with("the kernel command line is "));
}

TEST(Understand, MemoryThatGrowsAndIsSealed) {
  RunOptions options = with_kernel();
  options.memory = "256M";
  options.max_memory = "512M";
  options.resident = "100M";
  options.seal_compress = true;
  const PartitionConfig config = understand(options);
  EXPECT_EQ(config.max_memory_bytes, 512 * kMiB);
  EXPECT_EQ(config.seal.resident_bytes, 100 * kMiB);
  EXPECT_TRUE(config.seal.compress);
  EXPECT_TRUE(config.command_line.ends_with(" memhp_default_state=online_movable"));
  options.cmdline = "memhp_default_state=online";
  EXPECT_TRUE(understand(options).command_line.ends_with("=-1 memhp_default_state=online"));

  const auto refuses = [](auto change) {
    RunOptions wrong = with_kernel();
    wrong.memory = "256M";
    change(wrong);
    return message_of([&] { understand(wrong); });
  };
  EXPECT_EQ(refuses([](RunOptions& o) { o.max_memory = "256M"; }),
            "--max-memory 256M is no more than --memory; raise it, or leave it out");
  EXPECT_EQ(refuses([](RunOptions& o) { o.max_memory = "300M"; }),
            "--max-memory 300M is not --memory and whole steps of 128M; round it");
  EXPECT_EQ(refuses([](RunOptions& o) { o.max_memory = "2T"; }),
            "--max-memory 2T is too much; a partition has at most 1024G");
  EXPECT_EQ(refuses([](RunOptions& o) { o.resident = "8M"; }),
            "--resident 8M is too little; a partition needs at least 16M");
  EXPECT_TRUE(refuses([](RunOptions& o) {
                o.resident = "64M";
                o.backing = "hugetlb";
              }).starts_with("--resident needs --backing memfd"));
  EXPECT_TRUE(refuses([](RunOptions& o) {
                o.resident = "64M";
                o.lock_memory = true;
              }).starts_with("--resident and --lock-memory contradict"));
  EXPECT_TRUE(refuses([](RunOptions& o) {
                o.backing = "carved";
                o.frames = "private";
              }).starts_with("--frames private has neither carved memory"));
  EXPECT_EQ(refuses([](RunOptions& o) { o.numa_node = "x"; }),
            "--numa-node 'x' is not a number from 0 to 1023");
}

TEST(Understand, ATpmAndWhereItsStateLasts) {
  RunOptions options = with_kernel();
  EXPECT_FALSE(understand(options).tpm);
  options.tpm = true;
  EXPECT_EQ(understand(options).tpm, TpmRequest{});
  options.tpm = false;
  options.tpm_state = "tpm";
  EXPECT_TRUE(message_of([&] { understand(options); }).starts_with("--tpm-state needs --key-file"));
  options.key_file = "key";
  EXPECT_EQ(understand(options).tpm, (TpmRequest{"tpm", "tpm.counter"}));
  options.tpm_counter = "count";
  EXPECT_EQ(understand(options).tpm, (TpmRequest{"tpm", "count"}));
  options.tpm_counter = "tpm";
  EXPECT_TRUE(message_of([&] { understand(options); }).ends_with("name one file; name two"));
  options.tpm_state.reset();
  EXPECT_TRUE(message_of([&] { understand(options); }).starts_with("--tpm-counter needs"));
}

TEST(MakeMac, IsStableLocalAndDistinct) {
  const MacAddress first = make_mac("web", 0);
  EXPECT_EQ(first, make_mac("web", 0));
  EXPECT_NE(first, make_mac("web", 1));
  EXPECT_NE(first, make_mac("db", 0));
  EXPECT_EQ(first[0] & 3, 2);
}

}  // namespace
}  // namespace bulkhead::cli
