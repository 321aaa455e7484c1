// SPDX-License-Identifier: Apache-2.0
#include "boot/unpack/kernel_cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "boot/image_builder_for_test.h"
#include "boot/kernel_image.h"
#include "boot/unpack/cache_directory.h"
#include "boot/unpack/helper_process.h"

namespace bulkhead::boot {
namespace {

namespace fs = std::filesystem;

Bytes gzip(const Bytes& plain) {
  Bytes packed(compressBound(plain.size()) + 64);
  z_stream stream{};
  CHECK(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

class KernelCache : public ::testing::Test {
 protected:
  static fs::path make_directory() {
    std::string pattern = ::testing::TempDir() + "kernel-cache-XXXXXX";
    CHECK(::mkdtemp(pattern.data()) != nullptr);
    return pattern;
  }
  static void write_file(const fs::path& path, const Bytes& bytes) {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
  }
  // A kernel that is older than what counts as fresh, so that the index is used. No test changes
  // it.
  static void SetUpTestSuite() {
    shared_ = make_directory();
    write_file(shared_ / "vmlinuz", TestBzImage::make(gzip(make_payload())));
    grow_old();
  }
  static void TearDownTestSuite() { fs::remove_all(shared_); }

  void SetUp() override {
    root_ = make_directory();
    options_ = {.directory = root_ / "cache", .helper_path = BULKHEAD_UNPACK_PROGRAM};
    bzimage_ = Fd::open((shared_ / "vmlinuz").c_str(), O_RDONLY).value();
  }
  void TearDown() override { fs::remove_all(root_); }

  void write_kernel(const Bytes& bytes) {
    fs::remove(root_ / "vmlinuz");
    write_file(root_ / "vmlinuz", bytes);
    bzimage_ = Fd::open((root_ / "vmlinuz").c_str(), O_RDONLY).value();
  }
  static Bytes make_payload() { return TestElf::make() + TestRelocations{}.make(); }
  static void grow_old() { std::this_thread::sleep_for(std::chrono::milliseconds(2100)); }

  Result<Fd> unpack() { return unpack_cached(bzimage_.get(), options_); }

  Bytes payload_of(const Fd& fd) {
    const FileReader file = FileReader::create(fd.get()).value();
    Bytes bytes(file.size() - kUnpackedHeaderBytes);
    CHECK(file.read(kUnpackedHeaderBytes, bytes).has_value());
    return bytes;
  }
  std::vector<fs::path> files(const std::string& extension) {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(options_.directory)) {
      if (entry.path().extension() == extension) found.push_back(entry.path());
    }
    return found;
  }
  ino_t inode_of(const Fd& fd) {
    struct stat status{};
    CHECK(::fstat(fd.get(), &status) == 0);
    return status.st_ino;
  }
  // Changes the file behind the cache's back.
  void damage(const fs::path& path, long at, std::string_view bytes) {
    fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at);
    file.write(bytes.data(), static_cast<long>(bytes.size()));
  }

  static inline fs::path shared_;
  Bytes payload_ = make_payload();
  fs::path root_;
  CacheOptions options_;
  Fd bzimage_;
};

TEST_F(KernelCache, UnpacksAndRemembers) {
  const Fd first = unpack().value();
  EXPECT_EQ(payload_of(first), payload_);
  EXPECT_EQ(KernelImage::probe(first.get()).value().kind(), KernelImage::Kind::kUnpacked);
  EXPECT_EQ(::fcntl(first.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_EQ(files(".kernel").size(), 1U);
  EXPECT_EQ(files(".index").size(), 1U);
  EXPECT_TRUE(files(".tmp").empty());

  options_.helper_path = "/nonexistent";  // from here on, nothing needs to be unpacked
  EXPECT_EQ(inode_of(unpack().value()), inode_of(first));
}

TEST_F(KernelCache, WorksWithoutAnIndex) {
  write_kernel(TestBzImage::make(gzip(payload_)));
  const Fd first = unpack().value();
  EXPECT_TRUE(files(".index").empty());  // the kernel is too fresh for its times to be trusted
  options_.helper_path = "/nonexistent";
  EXPECT_EQ(inode_of(unpack().value()), inode_of(first));
}

TEST_F(KernelCache, NoticesAnotherKernelInTheSameFile) {
  write_kernel(TestBzImage::make(gzip(payload_)));
  grow_old();
  ASSERT_TRUE(unpack());
  payload_[TestElf::kText] ^= std::byte{1};
  const Bytes changed = TestBzImage::make(gzip(payload_));
  {
    const Fd fd = Fd::open((root_ / "vmlinuz").c_str(), O_WRONLY | O_TRUNC).value();
    ASSERT_TRUE(write_at(fd.get(), 0, changed));
  }
  EXPECT_EQ(payload_of(unpack().value()), payload_);
}

TEST_F(KernelCache, RebuildsADamagedEntry) {
  ASSERT_TRUE(unpack());
  damage(files(".kernel").at(0), 8192, "damage");
  EXPECT_EQ(payload_of(unpack().value()), payload_);
  damage(files(".kernel").at(0), 3, "header");
  EXPECT_EQ(payload_of(unpack().value()), payload_);
}

TEST_F(KernelCache, RebuildsATruncatedEntry) {
  ASSERT_TRUE(unpack());
  for (std::uintmax_t size : {std::uintmax_t{0}, std::uintmax_t{5000}}) {
    const fs::path path = files(".kernel").at(0);
    fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
    fs::resize_file(path, size);
    EXPECT_EQ(payload_of(unpack().value()), payload_);
  }
}

TEST_F(KernelCache, IgnoresADamagedIndex) {
  ASSERT_TRUE(unpack());
  damage(files(".index").at(0), 60, "damage");
  EXPECT_EQ(payload_of(unpack().value()), payload_);
  damage(files(".index").at(0), 0, "damage");
  EXPECT_EQ(payload_of(unpack().value()), payload_);
  fs::permissions(files(".index").at(0), fs::perms::owner_read | fs::perms::owner_write);
  fs::resize_file(files(".index").at(0), 10);
  EXPECT_EQ(payload_of(unpack().value()), payload_);
}

TEST_F(KernelCache, TrustsNothingThatOthersMayWrite) {
  ASSERT_TRUE(unpack());
  const fs::path path = files(".kernel").at(0);
  fs::permissions(path, fs::perms::all);
  EXPECT_EQ(payload_of(unpack().value()), payload_);
  EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_read);  // replaced

  fs::permissions(options_.directory, fs::perms::all);
  EXPECT_EQ(unpack().error().code, Errc::kPermission);
}

TEST_F(KernelCache, DoesNotFollowLinks) {
  fs::create_directory(root_ / "elsewhere");
  fs::create_directory_symlink(root_ / "elsewhere", options_.directory);
  EXPECT_FALSE(unpack());
  EXPECT_TRUE(fs::is_empty(root_ / "elsewhere"));
}

TEST_F(KernelCache, TwoStartsAtOnceBothSucceed) {
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const auto fd = unpack();
      if (fd && payload_of(*fd) == payload_) ++good;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, 4);
  EXPECT_EQ(files(".kernel").size(), 1U);
  EXPECT_TRUE(files(".tmp").empty());
}

TEST_F(KernelCache, KeepsABoundedNumberOfKernels) {
  for (int i = 0; i < 12; ++i) {
    payload_[TestElf::kText] = static_cast<std::byte>(i);
    write_kernel(TestBzImage::make(gzip(payload_)));
    ASSERT_TRUE(unpack());
  }
  EXPECT_EQ(files(".kernel").size(), 8U);
}

TEST_F(KernelCache, SaysWhyAKernelCannotBeUnpacked) {
  const auto why = [&](const Bytes& packed) {
    write_kernel(TestBzImage::make(packed));
    const auto result = unpack();
    EXPECT_FALSE(result);
    EXPECT_TRUE(files(".tmp").empty() && files(".kernel").empty());
    return result ? Errc::kClosed : result.error().code;
  };
  EXPECT_EQ(why(Bytes(1000)), Errc::kUnsupported);
  EXPECT_EQ(why(Bytes(2)), Errc::kMalformed);
  Bytes damaged = gzip(payload_);
  damaged[damaged.size() / 2] ^= std::byte{0xff};
  EXPECT_EQ(why(damaged), Errc::kMalformed);
  EXPECT_EQ(why(gzip(Bytes(1000))), Errc::kMalformed);          // not a kernel in it
  EXPECT_EQ(why(gzip(Bytes(8 * kMiB + 1))), Errc::kMalformed);  // more than init_size

  options_.helper_path = "/nonexistent";
  EXPECT_EQ(why(gzip(payload_)), Errc::kNotFound);
}

TEST_F(KernelCache, SaysThatTheDiskIsFull) {
  const BzImage image = BzImage::parse(FileReader::create(bzimage_.get()).value()).value();
  auto full = Fd::open("/dev/full", O_WRONLY);
  if (!full) GTEST_SKIP() << "no /dev/full";
  const auto result = run_unpack_helper(options_.helper_path, bzimage_.get(), image, full->get());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kExhausted);
  EXPECT_EQ(result.error().os_errno, ENOSPC);
}

TEST(CacheDirectory, RemovesWhatCrashedRunsLeft) {
  std::string path = ::testing::TempDir() + "cache-directory-XXXXXX";
  ASSERT_NE(::mkdtemp(path.data()), nullptr);
  std::ofstream(path + "/1.tmp") << "old";
  std::ofstream(path + "/2.tmp") << "in use";
  fs::last_write_time(path + "/1.tmp", fs::file_time_type::clock::now() - std::chrono::hours(2));
  CacheDirectory::open(path).value().prune(".kernel", 8);
  EXPECT_FALSE(fs::exists(path + "/1.tmp"));
  EXPECT_TRUE(fs::exists(path + "/2.tmp"));
  fs::remove_all(path);
}

}  // namespace
}  // namespace bulkhead::boot
