// SPDX-License-Identifier: Apache-2.0
#include "daemon/measured_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <thread>

#include "crypto/hash.h"
#include "daemon/fakes_for_test.h"

namespace bulkhead::daemon {
namespace {

using Want = MeasuredFiles::Want;
using Content = std::vector<std::byte>;

constexpr MeasuredFilesLimits kSmall{.file_bytes = 3000, .kept_bytes = 5000, .kept_files = 3};

class MeasuredFilesTest : public ::testing::Test {
 protected:
  MeasuredFilesTest() { set_log_level(LogLevel::kError); }

  std::string write(const std::string& name, const Content& content) const {
    const std::string path = directory_.path() + "/" + name;
    const Fd file = Fd::open(path.c_str(), O_RDWR | O_CREAT).value();
    CHECK(::pwrite(file.get(), content.data(), content.size(), 0) ==
          static_cast<ssize_t>(content.size()));
    return path;
  }
  static Fd open(const std::string& path) { return Fd::open(path.c_str(), O_RDONLY).value(); }

  Result<MeasuredFile> measure(Fd file, Want want = Want::kCopy) {
    std::optional<Result<MeasuredFile>> outcome;
    CHECK(files_->measure(std::move(file), want, [&](Result<MeasuredFile> measured) {
      outcome.emplace(std::move(measured));
    }));
    while (!outcome) CHECK(loop_->run_once(100));
    return std::move(*outcome);
  }
  // So old that a change of them would show.
  static void age() { std::this_thread::sleep_for(std::chrono::milliseconds(2100)); }
  static ino_t inode(const Fd& fd) {
    struct stat status{};
    CHECK(::fstat(fd.get(), &status) == 0);
    return status.st_ino;
  }
  static bool is_of(const FileDigests& digests, const Content& content) {
    return std::ranges::equal(digests.sha256,
                              Hash::of(HashAlgorithm::kSha256, {content}).value().bytes()) &&
           std::ranges::equal(digests.sha384,
                              Hash::of(HashAlgorithm::kSha384, {content}).value().bytes());
  }

  TempDir directory_;
  const std::unique_ptr<EventLoop> loop_ = EventLoop::create().value();
  const std::unique_ptr<MeasuredFiles> files_ = MeasuredFiles::create(*loop_, kSmall).value();
  const Content content_ = Content(2000, std::byte{7});
};

TEST_F(MeasuredFilesTest, GivesDigestsAndACopyThatNobodyCanChange) {
  const std::string path = write("kernel", content_);
  const MeasuredFile measured = measure(open(path)).value();
  EXPECT_TRUE(is_of(measured.digests, content_));
  Content copied(content_.size() + 1);
  EXPECT_EQ(::pread(measured.copy.get(), copied.data(), copied.size(), 0),
            static_cast<ssize_t>(content_.size()));
  EXPECT_TRUE(std::equal(content_.begin(), content_.end(), copied.begin()));
  EXPECT_EQ(::pwrite(measured.copy.get(), copied.data(), 1, 0), -1);
  EXPECT_EQ(::ftruncate(measured.copy.get(), 1), -1);
  EXPECT_EQ(::fcntl(measured.copy.get(), F_GET_SEALS), kCopySeals);
  EXPECT_FALSE(measure(open(path), Want::kDigests)->copy.valid());
}

TEST_F(MeasuredFilesTest, ReadsAFileOnce) {
  const std::string path = write("kernel", content_);
  age();
  const ino_t first = inode(measure(open(path))->copy);
  EXPECT_EQ(inode(measure(open(path))->copy), first);
  EXPECT_TRUE(is_of(measure(open(path), Want::kDigests)->digests, content_));
}

// What is given is what the copy holds, whatever became of the file.
TEST_F(MeasuredFilesTest, AChangedFileIsReadAgain) {
  const std::string path = write("kernel", content_);
  age();
  const MeasuredFile before = measure(open(path)).value();
  Content changed = content_;
  changed[1000] ^= std::byte{1};
  write("kernel", changed);
  const MeasuredFile after = measure(open(path)).value();
  EXPECT_TRUE(is_of(after.digests, changed));
  EXPECT_NE(inode(after.copy), inode(before.copy));
  // Its times might be the same after a further change: it is not known again.
  EXPECT_NE(inode(measure(open(path))->copy), inode(after.copy));
}

TEST_F(MeasuredFilesTest, KeepsWhatWasAskedForLast) {
  const std::string one = write("one", content_);
  const std::string two = write("two", content_);
  const std::string three = write("three", content_);
  age();
  const ino_t first = inode(measure(open(one))->copy);
  const ino_t second = inode(measure(open(two))->copy);
  EXPECT_EQ(inode(measure(open(one))->copy), first);
  measure(open(three)).value();  // 6,000 bytes: one must go
  EXPECT_EQ(inode(measure(open(one))->copy), first);
  EXPECT_NE(inode(measure(open(two))->copy), second);
}

TEST_F(MeasuredFilesTest, RefusesWhatIsNoFileOrTooLong) {
  EXPECT_EQ(measure(open(directory_.path())).error().code, Errc::kUnsupported);
  int pair[2];
  ASSERT_EQ(::pipe2(pair, O_CLOEXEC), 0);
  const Fd writer(pair[1]);
  EXPECT_EQ(measure(Fd(pair[0])).error().code, Errc::kUnsupported);
  const std::string path = write("long", Content(3001, std::byte{1}));
  EXPECT_EQ(measure(open(path)).error().code, Errc::kExhausted);
  EXPECT_EQ(measure(open(path), Want::kDigests).error().code, Errc::kExhausted);
}

// It may have been kept for somebody who may read it.
TEST_F(MeasuredFilesTest, GivesNothingToWhoCannotRead) {
  const std::string path = write("kernel", content_);
  age();
  measure(open(path)).value();
  for (const int flags : {O_PATH, O_WRONLY}) {
    for (const Want want : {Want::kCopy, Want::kDigests}) {
      EXPECT_EQ(measure(Fd::open(path.c_str(), flags).value(), want).error().code,
                Errc::kPermission);
    }
  }
  EXPECT_TRUE(measure(Fd::open(path.c_str(), O_RDWR).value()));
}

// Over the socket, as a monitor asks.
class MeasureRequestTest : public MeasuredFilesTest {
 protected:
  void serve(MeasuredFiles* files) {
    server_.reset();
    ::unlink(socket().c_str());
    server_ = Server::create(*loop_, *keeper_,
                             {.listener = listen_at(directory_.path(), std::nullopt).value(),
                              .group = ::getgid(),
                              .files = files})
                  .value();
  }
  std::string socket() const { return directory_.path() + "/socket"; }
  Result<MeasuredFile> ask(int file, Connection::Copy copy = Connection::Copy::kYes) {
    std::optional<Result<MeasuredFile>> outcome;
    std::atomic<bool> done = false;
    std::thread client([&] {
      auto connection = Connection::open(socket(), 30);
      outcome.emplace(connection ? connection->measure(file, copy) : connection.error());
      done = true;
    });
    while (!done) CHECK(loop_->run_once(10));
    client.join();
    return std::move(*outcome);
  }

  const std::unique_ptr<FrameKeeper> keeper_ = make_keeper(directory_.path());
  std::unique_ptr<Server> server_;
};

TEST_F(MeasureRequestTest, AnswersWithDigestsAndACopy) {
  serve(files_.get());
  const Fd file = open(write("kernel", content_));
  const MeasuredFile measured = ask(file.get()).value();
  EXPECT_TRUE(is_of(measured.digests, content_));
  EXPECT_TRUE(measured.copy.valid());
  const MeasuredFile digests = ask(file.get(), Connection::Copy::kNo).value();
  EXPECT_TRUE(is_of(digests.digests, content_));
  EXPECT_FALSE(digests.copy.valid());
}

TEST_F(MeasureRequestTest, Refuses) {
  serve(files_.get());
  EXPECT_EQ(ask(-1).error().code, Errc::kInvalidArgument);
  const Fd directory = open(directory_.path());
  EXPECT_EQ(ask(directory.get()).error().code, Errc::kUnsupported);
  serve(nullptr);
  const Fd file = open(write("kernel", content_));
  EXPECT_EQ(ask(file.get()).error().code, Errc::kUnsupported);
}

}  // namespace
}  // namespace bulkhead::daemon
