// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "devices/virtio/vsock_buffer.h"
#include "devices/virtio/vsock_greeting.h"
#include "devices/virtio/vsock_listener.h"

namespace bulkhead {
namespace {

TEST(VsockGreeting, Parses) {
  EXPECT_EQ(parse_greeting("CONNECT 52"), 52U);
  EXPECT_EQ(parse_greeting("connect 0"), 0U);
  EXPECT_EQ(parse_greeting(" Connect \t 4294967294 \r"), 4294967294U);
}

TEST(VsockGreeting, Refuses) {
  for (const char* line :
       {"", " ", "CONNECT", "CONNECT ", "CONNECT52", "CONNEC 52", "CONNECTED 52", "CONNECT -1",
        "CONNECT +1", "CONNECT 0x10", "CONNECT 5 2", "CONNECT 52 x", "CONNECT 4294967295",
        "CONNECT 4294967296", "CONNECT 99999999999999999999", "GET / HTTP/1.0"}) {
    EXPECT_FALSE(parse_greeting(line)) << line;
  }
  EXPECT_FALSE(parse_greeting(std::string_view("CONNECT 5\0002", 12)));
}

// Against a plain queue, in steps that wrap around.
TEST(VsockBuffer, KeepsBytesInOrder) {
  VsockBuffer buffer(100);
  unsigned written = 0;
  unsigned read = 0;
  for (unsigned step = 1; step < 500; ++step) {
    for (std::size_t left = std::min<std::size_t>(step * 7 % 60, buffer.room()); left > 0;) {
      const auto space = buffer.space();
      const std::size_t count = std::min(left, space.size());
      for (std::size_t i = 0; i < count; ++i) space[i] = static_cast<std::byte>(written++);
      buffer.append(count);
      left -= count;
    }
    for (std::size_t left = std::min<std::size_t>(step * 5 % 60, buffer.size()); left > 0;) {
      const auto front = buffer.front();
      const std::size_t count = std::min(left, front.size());
      for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(front[i], static_cast<std::byte>(read++));
      buffer.drop_front(count);
      left -= count;
    }
    ASSERT_EQ(buffer.size(), written - read);
  }
  buffer.drop_front(buffer.size());
  EXPECT_TRUE(buffer.empty());
  EXPECT_EQ(buffer.space().size(), 100U);
}

class VsockListenerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/bulkhead-listener-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    path_ = folder_ + "/s";
  }
  void TearDown() override {
    ::unlink(path_.c_str());
    EXPECT_EQ(::rmdir(folder_.c_str()), 0);
  }
  std::string folder_;
  std::string path_;
};

TEST_F(VsockListenerTest, MakesASocketForItsOwnerAndRemovesIt) {
  {
    auto listener = VsockListener::create(path_);
    ASSERT_TRUE(listener);
    struct stat status{};
    ASSERT_EQ(::lstat(path_.c_str(), &status), 0);
    EXPECT_TRUE(S_ISSOCK(status.st_mode));
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
    EXPECT_EQ(listener->accept().error().code, Errc::kNotFound);
    const VsockListener moved = std::move(*listener);
    EXPECT_EQ(::access(path_.c_str(), F_OK), 0);
  }
  EXPECT_NE(::access(path_.c_str(), F_OK), 0);
}

TEST_F(VsockListenerTest, ReplacesADeadSocketOnly) {
  {
    const Fd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(path_, address.sun_path);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  const auto listener = VsockListener::create(path_);
  ASSERT_TRUE(listener);
  const auto second = VsockListener::create(path_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::kExists) << "somebody listens";
  EXPECT_EQ(::access(path_.c_str(), F_OK), 0);
}

TEST_F(VsockListenerTest, LeavesOtherFilesAlone) {
  {
    const Fd file = Fd::open(path_.c_str(), O_CREAT | O_WRONLY).value();
  }
  EXPECT_EQ(VsockListener::create(path_).error().code, Errc::kExists);
  EXPECT_EQ(::access(path_.c_str(), F_OK), 0);
  ::unlink(path_.c_str());
  {
    const auto listener = VsockListener::create(path_);
    ASSERT_TRUE(listener);
    ::unlink(path_.c_str());
    const Fd other = Fd::open(path_.c_str(), O_CREAT | O_WRONLY).value();
  }
  EXPECT_EQ(::access(path_.c_str(), F_OK), 0) << "it is not ours any more";
}

TEST_F(VsockListenerTest, RefusesPathsThatCannotBe) {
  EXPECT_FALSE(VsockListener::create(""));
  EXPECT_FALSE(VsockListener::create(std::string("/tmp/a\0b", 8)));
  EXPECT_FALSE(VsockListener::create(folder_ + "/missing/s"));
  const std::string longest =
      folder_ + "/" + std::string(VsockListener::kMaxPath - folder_.size() - 1, 's');
  EXPECT_TRUE(VsockListener::create(longest));
  EXPECT_EQ(VsockListener::create(longest + "s").error().code, Errc::kInvalidArgument);
}

TEST_F(VsockListenerTest, ConnectsToThePortsOfItsPath) {
  const auto listener = VsockListener::create(path_);
  ASSERT_TRUE(listener);
  EXPECT_FALSE(listener->connect(4294967295));
  const auto server = VsockListener::create(path_ + "_4294967295");
  ASSERT_TRUE(server);
  EXPECT_TRUE(listener->connect(4294967295));
  EXPECT_TRUE(server->accept());
}

}  // namespace
}  // namespace bulkhead
