// SPDX-License-Identifier: Apache-2.0
#include "host/root.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "host/fake_root.h"

namespace bulkhead::host {
namespace {

TEST(Root, ReadsTrimmedText) {
  FakeRoot fake;
  fake.add("/proc/x", "  a b\n\n").add("/empty").add("/blank", " \n");
  EXPECT_EQ(fake.root().text("/proc/x"), "  a b");
  EXPECT_EQ(fake.root().text("/empty"), "");
  EXPECT_EQ(fake.root().text("/blank"), "");
  EXPECT_FALSE(fake.root().text("/absent"));
  EXPECT_FALSE(fake.root().text("/proc")) << "a directory";
}

TEST(Root, LongTextIsCut) {
  FakeRoot fake;
  fake.add("/long", std::string(1 << 20, 'x'));
  EXPECT_EQ(fake.root().text("/long")->size(), 256u * 1024);
}

TEST(Root, PipeDoesNotBlock) {
  FakeRoot fake;
  ASSERT_EQ(::mkfifo(fake.root().path("/pipe").c_str(), 0600), 0);
  EXPECT_EQ(fake.root().text("/pipe").value_or(""), "");
}

TEST(Root, NumbersAndSwitches) {
  FakeRoot fake;
  fake.add("/n", "42\n").add("/y", "Y\n").add("/no", "N\n").add("/zero", "0").add("/text", "abc");
  EXPECT_EQ(fake.root().number("/n"), 42u);
  EXPECT_FALSE(fake.root().number("/text"));
  EXPECT_TRUE(fake.root().enabled("/n"));
  EXPECT_TRUE(fake.root().enabled("/y"));
  EXPECT_FALSE(fake.root().enabled("/no"));
  EXPECT_FALSE(fake.root().enabled("/zero"));
  EXPECT_FALSE(fake.root().enabled("/absent"));
}

TEST(Root, ListsSortedNames) {
  FakeRoot fake;
  fake.add("/d/b").add("/d/a").add("/d/.hidden");
  EXPECT_EQ(fake.root().list("/d"), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(fake.root().list("/absent").empty());
}

TEST(Text, ChosenWord) {
  EXPECT_EQ(chosen_word("always [within_size] never"), "within_size");
  EXPECT_EQ(chosen_word("always"), "");
  EXPECT_EQ(chosen_word("] [x"), "");
  EXPECT_EQ(chosen_word(""), "");
}

TEST(Text, Words) {
  EXPECT_EQ(words(" a  bc\td\n").size(), 3u);
  EXPECT_EQ(words(" a  bc\td\n")[1], "bc");
  EXPECT_TRUE(words("").empty());
  EXPECT_TRUE(words("  \n").empty());
}

TEST(Text, Field) {
  std::string_view text = "vendor_id\t: X\nmodel\t: 1\nmodel name : A: B\nlast:";
  EXPECT_EQ(field(text, "model"), "1");
  EXPECT_EQ(field(text, "model name"), "A: B");
  EXPECT_EQ(field(text, "last"), "");
  EXPECT_FALSE(field(text, "mod"));
  EXPECT_FALSE(field("", "x"));
}

TEST(Text, Number) {
  EXPECT_EQ(parse_number(" 7 kB"), 7u);
  EXPECT_FALSE(parse_number(""));
  EXPECT_FALSE(parse_number("-1"));
  EXPECT_FALSE(parse_number("99999999999999999999"));
}

TEST(Text, Size) {
  EXPECT_EQ(parse_size("64M$0x50000000"), 64u << 20);
  EXPECT_EQ(parse_size("0x4000k"), 0x4000u << 10);
  EXPECT_EQ(parse_size("4096"), 4096u);
  EXPECT_EQ(parse_size("1T"), 1ULL << 40);
  EXPECT_EQ(parse_size("7x"), 7u);
  EXPECT_FALSE(parse_size(""));
  EXPECT_FALSE(parse_size("$1"));
  EXPECT_FALSE(parse_size("99999999999T"));
}

}  // namespace
}  // namespace bulkhead::host
