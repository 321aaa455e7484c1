// SPDX-License-Identifier: Apache-2.0
#include "seal/key_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <vector>

#include "base/fd.h"
#include "crypto/digest.h"
#include "seal/file_io.h"
#include "seal/temp_dir_for_test.h"

namespace bulkhead {
namespace {

constexpr char kHex[] = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
constexpr char kHexLower[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

class KeyFileTest : public testing::Test {
 protected:
  std::string write(const std::string& content, unsigned mode = 0600) {
    const std::string path = dir / "key";
    std::ofstream(path, std::ios::binary) << content;
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }
  Errc error_of(const std::string& content, unsigned mode = 0600) {
    const auto file = KeyFile::open(write(content, mode));
    EXPECT_FALSE(file);
    return file ? Errc::kIo : file.error().code;
  }

  TempDir dir;
};

TEST_F(KeyFileTest, ReadsRawBytesAndDigits) {
  std::string raw;
  for (int i = 0; i < 32; ++i) raw.push_back(static_cast<char>(i));
  const std::vector<std::string> contents = {raw, kHex, std::string(kHex).append("\n")};
  for (const std::string& content : contents) {
    KeyFile file = KeyFile::open(write(content)).value();
    EXPECT_EQ(to_hex(file.key().value().bytes()), kHexLower);
  }
}

TEST_F(KeyFileTest, RefusesWhatIsNoKey) {
  const std::string hex = kHex;
  const std::vector<std::string> contents = {"",
                                             hex.substr(1),
                                             hex + "0",
                                             hex + "\n\n",
                                             hex + "\r\n",
                                             "0x" + hex.substr(2),
                                             std::string(31, 'k'),
                                             std::string(33, 'k'),
                                             std::string(64, 'g'),
                                             std::string(64, '/'),
                                             std::string(64, ':'),
                                             std::string(64, '@'),
                                             std::string(64, '`'),
                                             std::string(64, '\xff'),
                                             std::string(5000, '0')};
  for (const std::string& content : contents) {
    EXPECT_EQ(error_of(content), Errc::kMalformed) << content;
  }
}

TEST_F(KeyFileTest, RefusesAFileThatOthersMayOpen) {
  for (unsigned mode : {0640U, 0620U, 0604U, 0602U, 0610U}) {
    EXPECT_EQ(error_of(kHex, mode), Errc::kPermission);
  }
  EXPECT_TRUE(KeyFile::open(write(kHex, 0400)));
}

TEST_F(KeyFileTest, RefusesWhatIsNoFileOfOurs) {
  EXPECT_EQ(KeyFile::open(dir / "missing").error().code, Errc::kNotFound);
  EXPECT_EQ(KeyFile::open(dir.path()).error().code, Errc::kInvalidArgument);
  const std::string pipe = dir / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(KeyFile::open(pipe).error().code, Errc::kInvalidArgument);
  write(kHex);
  ASSERT_EQ(::symlink("key", (dir / "link").c_str()), 0);
  EXPECT_FALSE(KeyFile::open(dir / "link"));
}

TEST_F(KeyFileTest, RefusesSomeoneElsesFile) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can make one";
  const std::string path = write(kHex);
  if (::chown(path.c_str(), 12345, 12345) != 0) GTEST_SKIP() << "no other users here";
  EXPECT_EQ(KeyFile::open(path).error().code, Errc::kPermission);
}

TEST_F(KeyFileTest, MakesARandomKeyForItsOwnerOnly) {
  const std::string path = dir / "new key";
  KeyFile file = KeyFile::create(path).value();
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(status.st_size, 32);
  EXPECT_EQ(KeyFile::create(path).error().code, Errc::kExists);
  KeyFile other = KeyFile::create(dir / "other").value();
  EXPECT_FALSE(constant_time_equal(file.key().value().bytes(), other.key().value().bytes()));
}

TEST_F(KeyFileTest, IsOverwrittenAndRemovedWhenItIsErased) {
  const std::string path = write(kHex);
  // Another name for the same blocks: what remains of them after the file is gone.
  ASSERT_EQ(::link(path.c_str(), (dir / "same").c_str()), 0);
  KeyFile file = KeyFile::open(path).value();
  ASSERT_TRUE(file.erase());
  EXPECT_EQ(::access(path.c_str(), F_OK), -1);
  EXPECT_EQ(file.key().error().code, Errc::kClosed);
  const Fd left = Fd::open((dir / "same").c_str(), 0).value();
  std::array<std::byte, 100> bytes{};
  ASSERT_GE(read_at_most(left.get(), 0, bytes).value(), 64u);
  int same = 0;
  for (std::size_t i = 0; i < 64; ++i) same += static_cast<char>(bytes[i]) == kHex[i] ? 1 : 0;
  EXPECT_LT(same, 16);
}

TEST(EphemeralKey, IsItsOwnAndEnds) {
  EphemeralKey one = EphemeralKey::create().value();
  EphemeralKey other = EphemeralKey::create().value();
  EXPECT_TRUE(constant_time_equal(one.key().value().bytes(), one.key().value().bytes()));
  EXPECT_FALSE(constant_time_equal(one.key().value().bytes(), other.key().value().bytes()));
  ASSERT_TRUE(one.erase());
  EXPECT_EQ(one.key().error().code, Errc::kClosed);
}

}  // namespace
}  // namespace bulkhead
