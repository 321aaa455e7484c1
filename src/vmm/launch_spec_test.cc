// SPDX-License-Identifier: Apache-2.0
#include "vmm/launch_spec.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <random>

namespace bulkhead {
namespace {

LaunchSpec full_spec() {
  LaunchSpec spec;
  spec.name = "web-1";
  spec.runtime_dir = "/run/bulkhead/web-1";
  spec.runtime_fd = 10;
  spec.control_fd = 11;
  spec.ready_fd = 12;
  spec.cpus = 4;
  spec.kernel_fd = 13;
  spec.kernel_kind = KernelKind::kElfPvh;
  spec.initrd_fd = 14;
  spec.command_line = "console=hvc0 key=value a=\"b c\"";
  spec.disks = {{.fd = 15, .read_only = true, .discard = false, .queues = 2, .serial = "root"},
                {.fd = 16, .serial = {}}};
  spec.nets = {{.kind = NetKind::kStream, .fd = 17, .mac = {2, 0, 0, 0, 0, 1}, .mtu = 1400}};
  spec.vsock = VsockSpec{.cid = 42, .socket_path = "/tmp/v.sock"};
  spec.seal.key_fd = 20;
  spec.tpm = TpmSpec{.program_fd = 21, .state_fd = 22, .counter_fd = 23, .certifier = "/run/c"};
  spec.console = {.in_fd = 0, .out_fd = 1, .log_fd = 18, .messages_fd = 19, .escapes = true};
  spec.on_reboot = OnReboot::kExit;
  spec.debug = {"exit-stats"};
  return spec;
}

std::string message_for(std::string_view text) {
  SpecError error;
  EXPECT_FALSE(parse_launch_spec(text, error).has_value());
  return error.message;
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(LaunchSpec, SurvivesTheRoundTrip) {
  SpecError error;
  const auto back = parse_launch_spec(serialize(full_spec()), error);
  ASSERT_TRUE(back.has_value()) << error.message << " line " << error.line;
  EXPECT_EQ(*back, full_spec());
}

// Random valid specifications: whatever can be said is read back as it was said.
class RandomSpec {
 public:
  explicit RandomSpec(unsigned seed) : random_(seed) {}

  LaunchSpec make() {
    LaunchSpec spec;
    spec.name = text("abcXYZ019_", 1 + pick(kMaxName - 1));
    spec.runtime_dir = text("/", 1) + text("abc/ .=", pick(40));
    spec.runtime_fd = fd();
    spec.control_fd = fd();
    spec.ready_fd = pick(2) == 0 ? -1 : fd();
    spec.memory_bytes = kMemoryUnit * (32 + pick(100000));
    spec.backing = pick(2) == 0 ? MemoryBacking::kMemfd : MemoryBacking::kHugetlb;
    spec.max_memory_bytes = pick(2) == 0 ? 0 : spec.memory_bytes + (1 + pick(8)) * kGrowthUnit;
    if (pick(2) == 0) {
      spec.frames = FrameKeeper::kDaemon;
      spec.daemon_socket = "/run/bulkhead/bulkheadd.sock";
      spec.numa_node = static_cast<int>(pick(4)) - 1;
    }
    spec.lock_memory = pick(2) == 0;
    if (spec.backing == MemoryBacking::kMemfd && !spec.lock_memory) {
      spec.seal.resident_bytes = pick(2) * 64 * kMiB;
    }
    spec.seal.compress = pick(2) == 0;
    spec.cpus = static_cast<unsigned>(1 + pick(kMaxCpus));
    spec.kernel_kind = static_cast<KernelKind>(pick(3));
    spec.kernel_fd = fd();
    spec.initrd_fd = pick(2) == 0 ? -1 : fd();
    spec.command_line = text("abc= \"'\\\xc3\xa9#", pick(kMaxCommandLine));
    for (std::size_t i = pick(kMaxDisks + 1); i > 0; --i) spec.disks.push_back(disk());
    for (std::size_t i = pick(kMaxNets + 1); i > 0; --i) spec.nets.push_back(net());
    if (pick(2) == 0) spec.vsock = VsockSpec{3 + static_cast<std::uint32_t>(pick(1000)), "/v=1"};
    if (pick(2) == 0) spec.tpm = TpmSpec{.program_fd = fd(), .certifier = {}};
    spec.rng = pick(2) == 0;
    spec.balloon = pick(2) == 0;
    spec.console = {fd(), fd(), fd(), fd(), pick(2) == 0};
    spec.on_reboot = static_cast<OnReboot>(pick(2));
    spec.log_level = static_cast<LogLevel>(pick(4));
    spec.watchdog_ms = static_cast<unsigned>(pick(100000));
    return spec;
  }

 private:
  std::size_t pick(std::size_t below) {
    return std::uniform_int_distribution<std::size_t>(0, below - 1)(random_);
  }
  int fd() { return static_cast<int>(pick(1000)); }
  std::string text(std::string_view alphabet, std::size_t length) {
    std::string out;
    for (; length > 0; --length) out.push_back(alphabet[pick(alphabet.size())]);
    return out;
  }
  DiskSpec disk() {
    return {fd(), pick(2) == 0, pick(2) == 0, static_cast<unsigned>(1 + pick(kMaxQueues)),
            text("serial-", pick(kMaxDiskSerial + 1))};
  }
  NetSpec net() {
    NetSpec made{static_cast<NetKind>(pick(2)), fd(), {}, static_cast<unsigned>(68 + pick(9000))};
    for (auto& byte : made.mac) byte = static_cast<std::uint8_t>(pick(256));
    made.mac[0] &= 0xfe;
    return made;
  }

  std::mt19937 random_;
};

TEST(LaunchSpec, AnyValidSpecificationSurvivesTheRoundTrip) {
  RandomSpec random(20);
  for (int i = 0; i < 300; ++i) {
    const LaunchSpec spec = random.make();
    SpecError error;
    const auto back = parse_launch_spec(serialize(spec), error);
    ASSERT_TRUE(back.has_value()) << error.message << "\n" << serialize(spec);
    ASSERT_EQ(*back, spec);
  }
}

TEST(LaunchSpec, EveryTruncationIsRefused) {
  const std::string text = serialize(full_spec());
  for (std::size_t length = 0; length < text.size(); ++length) {
    SpecError error;
    EXPECT_FALSE(parse_launch_spec(text.substr(0, length), error).has_value()) << length;
    EXPECT_FALSE(error.message.empty());
  }
}

TEST(LaunchSpec, UnknownDuplicateAndMalformedLinesAreNamed) {
  const std::string text = serialize(full_spec());
  SpecError error;
  EXPECT_FALSE(parse_launch_spec(text + "colour=red\n", error).has_value());
  EXPECT_EQ(error.message, "unknown key colour");
  EXPECT_EQ(error.line, std::count(text.begin(), text.end(), '\n') + 1);
  EXPECT_EQ(message_for(text + "cpus=1\n"), "duplicate key cpus");
  EXPECT_EQ(message_for(text + "cpus\n"), "not a key=value line");
  EXPECT_EQ(message_for(text + "=1\n"), "not a key=value line");
  EXPECT_EQ(message_for(replaced(text, "cpus=4\n", "")), "missing key cpus");
  EXPECT_EQ(message_for(text + "a=\x1b[m\n"), "a control character in the line");
  EXPECT_EQ(message_for(replaced(text, "launch_spec=1", "launch_spec=2")),
            "launch_spec is another version");
}

TEST(LaunchSpec, BadNumbersAreRefused) {
  const std::string text = serialize(full_spec());
  for (const char* bad : {"cpus=", "cpus=-1", "cpus=4x", "cpus= 4", "cpus=+4", "cpus=0x4",
                          "cpus=4294967296", "cpus=99999999999999999999999"}) {
    EXPECT_EQ(message_for(replaced(text, "cpus=4", bad)), "cpus is not a number that fits") << bad;
  }
  EXPECT_EQ(message_for(replaced(text, "net.0.mac.1=0", "net.0.mac.1=256")),
            "net.0.mac.1 is not a number that fits");
}

TEST(LaunchSpec, ValuesOutOfRangeAreRefused) {
  const std::string text = serialize(full_spec());
  EXPECT_EQ(message_for(replaced(text, "cpus=4", "cpus=0")), "cpus is out of range");
  EXPECT_EQ(message_for(replaced(text, "cpus=4", "cpus=17")), "cpus is out of range");
  EXPECT_EQ(message_for(replaced(text, "disks=2", "disks=9")), "too many disks");
  EXPECT_EQ(message_for(replaced(text, "nets=1", "nets=18446744073709551615")), "too many nets");
  EXPECT_EQ(message_for(replaced(text, "backing=memfd", "backing=file")),
            "backing has no such value");
  EXPECT_EQ(message_for(replaced(text, "name=web-1", "name=../x")), "name is not a partition name");
  EXPECT_EQ(message_for(replaced(text, "memory_bytes=268435456", "memory_bytes=268435457")),
            "memory_bytes is out of range, or not a multiple of 2 MiB");
  EXPECT_EQ(message_for(replaced(text, "net.0.mac.0=2", "net.0.mac.0=3")),
            "a net has no descriptor, a group address, or an mtu out of range");
  EXPECT_EQ(message_for(replaced(text, "vsock.cid=42", "vsock.cid=2")),
            "vsock has a reserved cid, or a path that is not absolute");
  const std::string tpm =
      "tpm has no program, a state without a counter or a key, or a relative certifier";
  EXPECT_EQ(message_for(replaced(text, "tpm.certifier=/run/c", "tpm.certifier=c")), tpm);
  EXPECT_EQ(message_for(replaced(text, "tpm.program_fd=21", "tpm.program_fd=-1")), tpm);
  EXPECT_EQ(message_for(replaced(text, "tpm.counter_fd=23", "tpm.counter_fd=-1")), tpm);
  EXPECT_EQ(message_for(replaced(text, "seal.key_fd=20", "seal.key_fd=-1")), tpm);
  EXPECT_EQ(message_for(replaced(text, "exit-stats", "hang")), "unknown debug knob");
  const std::string overlong = "command_line=" + std::string(kMaxCommandLine + 1, 'x');
  EXPECT_EQ(message_for(replaced(text, "command_line=" + full_spec().command_line, overlong)),
            "command_line is longer than 2047 bytes");
}

TEST(LaunchSpec, TextIsBounded) {
  EXPECT_EQ(message_for(std::string(kMaxSpecBytes + 1, 'a')), "the specification is too long");
  std::string lines;
  for (int i = 0; i < 300; ++i) lines.append("k").append(std::to_string(i)).append("=\n");
  EXPECT_EQ(message_for(lines), "too many lines");
}

TEST(LaunchSpec, PartitionNames) {
  for (const char* good : {"a", "web-1", "A.b_c", "0"}) EXPECT_TRUE(is_valid_partition_name(good));
  for (const char* bad : {"", ".", "..", ".a", "-a", "a/b", "a b", "a\n", "\xc3\xa9"}) {
    EXPECT_FALSE(is_valid_partition_name(bad)) << bad;
  }
  EXPECT_TRUE(is_valid_partition_name(std::string(kMaxName, 'a')));
  EXPECT_FALSE(is_valid_partition_name(std::string(kMaxName + 1, 'a')));
}

TEST(LaunchSpec, DescriptorsMustBeOpenAndDistinct) {
  const auto a = Fd::event();
  const auto b = Fd::event();
  const auto c = Fd::event();
  LaunchSpec spec;
  spec.runtime_fd = a->get();
  spec.control_fd = b->get();
  spec.kernel_fd = c->get();
  SpecError error;
  EXPECT_TRUE(check_descriptors(spec, error));
  spec.initrd_fd = c->get();
  EXPECT_FALSE(check_descriptors(spec, error));
  EXPECT_EQ(error.message, "descriptor " + std::to_string(c->get()) + " is named twice");
  spec.initrd_fd = 999;
  EXPECT_FALSE(check_descriptors(spec, error));
  EXPECT_EQ(error.message, "descriptor 999 is not open");
}

TEST(LaunchSpec, TravelsInAMemfd) {
  const auto fd = write_spec_fd(full_spec());
  ASSERT_TRUE(fd);
  EXPECT_NE(::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC, 0);
  const auto text = read_spec_fd(fd->get());
  ASSERT_TRUE(text);
  EXPECT_EQ(*text, serialize(full_spec()));
  EXPECT_FALSE(read_spec_fd(-1));
}

TEST(LaunchSpec, RuntimeFilesAreRemoved) {
  char directory[] = "/tmp/bulkhead-spec-test-XXXXXX";
  ASSERT_NE(::mkdtemp(directory), nullptr);
  for (const char* file : kRuntimeFiles) {
    std::ofstream(std::string(directory).append("/").append(file)) << "x";
  }
  const auto fd = Fd::open(directory, O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(fd);
  LaunchSpec spec;
  spec.runtime_dir = directory;
  spec.runtime_fd = fd->get();
  remove_runtime_files(spec);
  struct stat status{};
  EXPECT_NE(::stat(directory, &status), 0);
}

}  // namespace
}  // namespace bulkhead
