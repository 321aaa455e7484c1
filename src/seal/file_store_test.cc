// SPDX-License-Identifier: Apache-2.0
// Stores in real files: locks, anchors, a writer that is killed, a disk that is full.

#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "seal/file_anchor.h"
#include "seal/file_medium.h"
#include "seal/sealed_store.h"
#include "seal/store_for_test.h"
#include "seal/temp_dir_for_test.h"

namespace bulkhead {
namespace {

using Access = FileMedium::Access;

class FileStoreTest : public testing::Test {
 protected:
  FileAnchor make_anchor() { return FileAnchor::create(dir / "anchor", key.key().value()).value(); }

  TempDir dir;
  TestKey key;
};

TEST_F(FileStoreTest, OutlivesItsProcess) {
  {
    auto medium = FileMedium::create(dir / "store").value();
    auto anchor = make_anchor();
    auto store = SealedStore::create(options_for_test(medium, key, &anchor, 1000)).value();
    for (std::uint64_t i = 0; i < 300; ++i) ASSERT_TRUE(store->put(PageIndex(i), page_of(i)));
    ASSERT_TRUE(store->commit());
  }
  auto medium = FileMedium::open(dir / "store", Access::kWrite).value();
  auto anchor = make_anchor();
  auto store = SealedStore::open(options_for_test(medium, key, &anchor)).value();
  for (std::uint64_t i = 0; i < 300; ++i) EXPECT_EQ(read_page(*store, i).value(), page_of(i));
  store->trim();
  EXPECT_EQ(first_error(*store), std::nullopt);
}

TEST_F(FileStoreTest, HasOneWriterOrSeveralReaders) {
  {
    auto writer = FileMedium::create(dir / "store").value();
    EXPECT_EQ(FileMedium::create(dir / "store").error().code, Errc::kExists);
    EXPECT_EQ(FileMedium::open(dir / "store", Access::kWrite).error().code, Errc::kBusy);
    EXPECT_EQ(FileMedium::open(dir / "store", Access::kRead).error().code, Errc::kBusy);
  }
  auto one = FileMedium::open(dir / "store", Access::kRead).value();
  EXPECT_TRUE(FileMedium::open(dir / "store", Access::kRead));
  EXPECT_EQ(FileMedium::open(dir / "store", Access::kWrite).error().code, Errc::kBusy);
  EXPECT_EQ(FileMedium::open(dir / "no", Access::kRead).error().code, Errc::kNotFound);
}

class FileAnchorTest : public FileStoreTest {
 protected:
  std::vector<char> content() {
    std::ifstream file(dir / "anchor", std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void replace(const std::vector<char>& bytes) {
    std::ofstream(dir / "anchor", std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  StoreId store = StoreId::random().value();
  AnchorMark mark{.generation = 5, .tag = {}};
};

TEST_F(FileAnchorTest, RemembersAndOnlyGoesForward) {
  auto anchor = make_anchor();
  EXPECT_EQ(anchor.newest(store).error().code, Errc::kNotFound);
  mark.tag[3] = std::byte{9};
  ASSERT_TRUE(anchor.advance(store, mark));
  EXPECT_EQ(make_anchor().newest(store).value(), mark);
  EXPECT_EQ(anchor.advance(store, mark).error().code, Errc::kRolledBack);
  ASSERT_TRUE(anchor.advance(store, {.generation = 6, .tag = {}}));
  EXPECT_EQ(anchor.newest(store)->generation, 6u);
  // The file is the only one left of those that were written.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
  ASSERT_TRUE(anchor.forget(store));
  EXPECT_EQ(anchor.newest(store).error().code, Errc::kNotFound);
}

TEST_F(FileAnchorTest, NoticesEveryChange) {
  auto anchor = make_anchor();
  ASSERT_TRUE(anchor.advance(store, mark));
  const std::vector<char> good = content();
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::vector<char> bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1 << i % 8);
    replace(bad);
    EXPECT_EQ(anchor.newest(store).error().code, Errc::kMalformed);
    EXPECT_FALSE(anchor.advance(store, {.generation = 6, .tag = {}})) << "not papered over";
    replace({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(i)});
    EXPECT_EQ(anchor.newest(store).error().code, Errc::kTruncated);
  }
  replace(good);
  EXPECT_TRUE(anchor.newest(store));
  EXPECT_EQ(anchor.newest(StoreId::random().value()).error().code, Errc::kNotFound);
  TestKey other(2);
  auto foreign = FileAnchor::create(dir / "anchor", other.key().value()).value();
  EXPECT_EQ(foreign.newest(store).error().code, Errc::kMalformed);
}

constexpr char kChildDir[] = "BULKHEAD_SEAL_CHILD_DIR";
constexpr std::uint64_t kChildPages = 40;

// Disabled for all but a child of the test below, which does this until it is killed: every commit
// gives all pages the next number.
TEST(KilledWriterChild, DISABLED_Writes) {
  const char* dir = std::getenv(kChildDir);
  ASSERT_NE(dir, nullptr) << "this is a child's work";
  TestKey key;
  auto medium = FileMedium::open(std::string(dir) + "/store", Access::kWrite).value();
  auto anchor = FileAnchor::create(std::string(dir) + "/anchor", key.key().value()).value();
  auto store = SealedStore::open(options_for_test(medium, key, &anchor)).value();
  for (std::uint64_t number = store->stats().generation * 1000;; number += 1000) {
    for (std::uint64_t i = 0; i < kChildPages; ++i) {
      ASSERT_TRUE(store->put(PageIndex(i), page_of(number + i)));
    }
    ASSERT_TRUE(store->commit());
  }
}

pid_t start_child(const std::string& dir) {
  const char* const arguments[] = {"/proc/self/exe", "--gtest_filter=KilledWriterChild.*",
                                   "--gtest_also_run_disabled_tests", "--gtest_brief=1", nullptr};
  ::setenv(kChildDir, dir.c_str(), 1);
  pid_t child = -1;
  const int failed = ::posix_spawn(&child, arguments[0], nullptr, nullptr,
                                   const_cast<char* const*>(arguments), environ);
  ::unsetenv(kChildDir);
  return failed == 0 ? child : -1;
}

TEST_F(FileStoreTest, AKilledWriterLeavesAWholeState) {
  {
    auto medium = FileMedium::create(dir / "store").value();
    auto anchor = make_anchor();
    auto store = SealedStore::create(options_for_test(medium, key, &anchor, 200)).value();
  }
  std::uint64_t generation = 1;
  for (int round = 0; round < 8; ++round) {
    const pid_t child = start_child(dir.path());
    ASSERT_GT(child, 0);
    // Killed somewhere after a few commits: the anchor is what shows them.
    auto anchor_file = dir / "anchor";
    struct stat before{};
    struct stat now{};
    ASSERT_EQ(::stat(anchor_file.c_str(), &before), 0);
    int status = 0;
    for (int changes = 0; changes < 5 + round && ::waitpid(child, &status, WNOHANG) == 0;) {
      ::usleep(static_cast<useconds_t>(300 + 137 * round));
      if (::stat(anchor_file.c_str(), &now) == 0 && now.st_ino != before.st_ino) {
        before = now;
        ++changes;
      }
    }
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    auto medium = FileMedium::open(dir / "store", Access::kWrite).value();
    auto anchor = make_anchor();
    auto store = SealedStore::open(options_for_test(medium, key, &anchor));
    ASSERT_TRUE(store) << store.error().what;
    EXPECT_GT((*store)->stats().generation, generation);
    generation = (*store)->stats().generation;
    for (std::uint64_t i = 0; i < kChildPages; ++i) {
      ASSERT_EQ(read_page(**store, i).value(), page_of((generation - 1) * 1000 + i));
    }
  }
}

// A file system of 1 MiB, where root may have one.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& path) : path_(path) {
    mounted_ = ::mkdir(path.c_str(), 0700) == 0 &&
               ::mount("none", path.c_str(), "tmpfs", 0, "size=1m") == 0;
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  ~SmallDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }

 private:
  std::string path_;
  bool mounted_ = false;
};

TEST_F(FileStoreTest, AFullDiskKeepsTheOldState) {
  const SmallDisk disk(dir / "disk");
  if (!disk.mounted()) GTEST_SKIP() << "only root can mount a small disk";
  auto medium = FileMedium::create(dir / "disk/store").value();
  auto anchor = make_anchor();
  auto store = SealedStore::create(options_for_test(medium, key, &anchor, 4096)).value();
  ASSERT_TRUE(store->put(PageIndex(0), page_of(1)));
  ASSERT_TRUE(store->commit());
  std::uint64_t put = 1;
  Result<void> done;
  while ((done = store->put(PageIndex(put), page_of(put + 1)))) ++put;
  EXPECT_EQ(done.error().code, Errc::kExhausted);
  EXPECT_EQ(done.error().os_errno, ENOSPC);
  EXPECT_GT(put, 200u);
  for (std::uint64_t i = 0; i < put; ++i) ASSERT_EQ(read_page(*store, i).value(), page_of(i + 1));
  EXPECT_EQ(store->commit().error().code, Errc::kExhausted);
  for (std::uint64_t i = 1; i < put; i += 2) store->forget(PageIndex(i));
  ASSERT_TRUE(store->commit());
  ASSERT_TRUE(store->put(PageIndex(1), page_of(77)));
  ASSERT_TRUE(store->commit());
  store.reset();
  store = SealedStore::open(options_for_test(medium, key, &anchor)).value();
  EXPECT_EQ(first_error(*store), std::nullopt);
  EXPECT_EQ(read_page(*store, 1).value(), page_of(77));
  EXPECT_EQ(read_page(*store, 2).value(), page_of(3));
}

}  // namespace
}  // namespace bulkhead
