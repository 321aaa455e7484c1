// SPDX-License-Identifier: Apache-2.0
#include "mem/carved_range.h"

#include <gtest/gtest.h>

#include "mem/fake_host_for_test.h"

namespace bulkhead {
namespace {

class CarvedRangeTest : public testing::Test {
 protected:
  Result<CarvedRange> check(std::uint64_t base = FakeHost::kBase,
                            std::uint64_t size = FakeHost::kSize) const {
    return CarvedRange::check(base, size, host_.root());
  }
  // The refusal's code, if its message speaks of what it should.
  std::string refusal(std::string_view about, std::uint64_t base = FakeHost::kBase,
                      std::uint64_t size = FakeHost::kSize) const {
    const Result<CarvedRange> range = check(base, size);
    if (range) return "accepted";
    const std::string_view what = range.error().what;
    return what.find(about) == std::string_view::npos ? std::string(what)
                                                      : to_string(range.error().code);
  }

  FakeHost host_;
};

TEST_F(CarvedRangeTest, AcceptsWhatWasWithheldFromTheKernel) {
  const Result<CarvedRange> range = check();
  ASSERT_TRUE(range) << range.error().what;
  EXPECT_EQ(range->base(), FakeHost::kBase);
  EXPECT_EQ(range->frames(), 32u);
  EXPECT_TRUE(check(FakeHost::kBase + 2 * kMiB, 4 * kMiB)) << "a part of it";
  EXPECT_TRUE(CarvedRange::parse("64M@0x10000000", host_.root()));
  EXPECT_EQ(CarvedRange::parse("32M@256M", host_.root()).value().size_bytes(), 32 * kMiB);
}

TEST_F(CarvedRangeTest, RefusesWhatIsNoWayToNameARange) {
  for (const char* text : {"", "64M", "64M@", "@0x10000000", "64M@0x10000000 ", "64Mi@0x10000000",
                           "64M$0x10000000", "-64M@0x10000000", "0@0x10000000", "64M@-1",
                           "99999999999999999999@0", "16777216T@0", "64M@0xffffffffffffffff"}) {
    EXPECT_EQ(CarvedRange::parse(text, host_.root()).error().code, Errc::kInvalidArgument) << text;
  }
}

TEST_F(CarvedRangeTest, RefusesWhatIsNotWholeFrames) {
  EXPECT_EQ(refusal("2 MiB", FakeHost::kBase + 4096, 2 * kMiB), "invalid_argument");
  EXPECT_EQ(refusal("2 MiB", FakeHost::kBase, 2 * kMiB + 4096), "invalid_argument");
  EXPECT_EQ(refusal("2 MiB", FakeHost::kBase, 0), "invalid_argument");
  EXPECT_EQ(refusal("2 MiB", ~(2 * kMiB - 1), 4 * kMiB), "invalid_argument");
}

TEST_F(CarvedRangeTest, RefusesWhatNoOptionNames) {
  for (const char* line :
       {"quiet", "memmap=64M@0x10000000", "memmap=64M#0x10000000", "memmap=32M$0x10000000",
        "memmap=64M$0x11000000", "xmemmap=64M$0x10000000", "memmap=64M$0x10000000x",
        "quiet -- memmap=64M$0x10000000", "memmap=64M", "memmap=exactmap",
        "memmap=", "memmap=32M$0x10000000,32M$0x12000000"}) {
    host_.command_line(line);
    EXPECT_EQ(refusal("memmap=SIZE$ADDRESS"), "not_found") << line;
  }
  for (const char* line : {"memmap=64M$0x10000000", "memmap=1M$0x8000,65536k$268435456 quiet",
                           "memmap=exactmap memmap=0x4000000$02000000000"}) {
    host_.command_line(line);
    EXPECT_TRUE(check()) << line;
  }
  host_.remove("/proc/cmdline");
  EXPECT_FALSE(check());
}

TEST_F(CarvedRangeTest, RefusesWhatIsNotRamForTheFirmware) {
  host_.firmware(2, "0x100000", "0x12ffffff", "System RAM");
  EXPECT_EQ(refusal("firmware"), "out_of_range") << "ends in it";
  host_.firmware(3, "0x13000000", "0x7fffffff", "Reserved");
  EXPECT_EQ(refusal("firmware"), "out_of_range");
  host_.firmware(3, "0x13000001", "0x7fffffff", "System RAM");
  EXPECT_EQ(refusal("firmware"), "out_of_range") << "a hole of one byte";
  host_.firmware(3, "0x13000000", "0x7fffffff", "System RAM");
  EXPECT_TRUE(check()) << "two entries that touch";
  host_.firmware(3, "0x13000000", "0x13fffffe", "System RAM");
  EXPECT_EQ(refusal("firmware"), "out_of_range") << "one byte short";
  host_.firmware(3, "rubbish", "0x7fffffff", "System RAM");
  EXPECT_EQ(refusal("not understood"), "malformed");
  host_.remove("/sys/firmware");
  EXPECT_EQ(refusal("CONFIG_FIRMWARE_MEMMAP"), "not_found");
}

TEST_F(CarvedRangeTest, RefusesWhatTheKernelUses) {
  host_.iomem("00100000-7fffffff : System RAM\n");
  EXPECT_EQ(refusal("the host kernel uses"), "busy") << "the option was not in force";
  host_.iomem("00100000-10000000 : System RAM\n10000000-13ffffff : Reserved\n");
  EXPECT_EQ(refusal("the host kernel uses"), "busy") << "one byte of it";
  host_.iomem("10000000-13ffffff : Reserved\n  13fff000-13ffffff : System RAM\n");
  EXPECT_EQ(refusal("the host kernel uses"), "busy");
}

TEST_F(CarvedRangeTest, RefusesWhatADeviceHas) {
  host_.iomem("10000000-13ffffff : Reserved\n  12000000-12000fff : 0000:00:02.0\n");
  EXPECT_EQ(refusal("device"), "busy");
  host_.iomem("0c000000-1fffffff : PCI Bus 0000:00\n  10000000-13ffffff : Reserved\n");
  EXPECT_EQ(refusal("device"), "busy") << "reserved within a window of devices";
  host_.iomem("10000000-13ffffff : Persistent Memory (legacy)\n");
  EXPECT_EQ(refusal("device"), "busy");
}

TEST_F(CarvedRangeTest, RefusesWhatIsNotReserved) {
  host_.iomem("00100000-0fffffff : System RAM\n");
  EXPECT_EQ(refusal("\"Reserved\""), "not_found");
  host_.iomem("10000000-12ffffff : Reserved\n13000000-13ffffff : Reserved\n");
  EXPECT_EQ(refusal("\"Reserved\""), "not_found") << "two ranges, of which one may be firmware's";
  host_.iomem("10000000-13ffffff : reserved\n");
  EXPECT_EQ(refusal("device"), "busy");
}

TEST_F(CarvedRangeTest, RefusesToGuess) {
  host_.iomem("00000000-00000000 : System RAM\n00000000-00000000 : Reserved\n");
  EXPECT_EQ(refusal("become root"), "permission");
  host_.iomem("");
  EXPECT_FALSE(check());
  for (const char* text :
       {"rubbish\n", "10000000 : Reserved\n", "10000000-13ffffff\n", "10000000-13ffffff Reserved\n",
        "-13ffffff : Reserved\n", "100000000000000000000-13ffffff : Reserved\n"}) {
    host_.iomem(text);
    EXPECT_EQ(refusal("not understood"), "malformed") << text;
  }
  host_.remove("/proc/iomem");
  EXPECT_FALSE(check());
}

}  // namespace
}  // namespace bulkhead
