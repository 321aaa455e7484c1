// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/mapping.h"
#include "daemon/server.h"
#include "daemon/state.h"

namespace bulkhead::daemon {

inline constexpr std::uint64_t kFakeFrames = 24;

// A pool in an ordinary directory, for ordinary users. Its memory is one file that keeps what is
// written, as carved memory does: only scrub() makes it zero. Each run that is in use has an empty
// file in runs/.
class FakePool final : public FramePool {
 public:
  FakePool(std::string directory, bool scrubs)
      : FramePool(kFakeFrames, std::nullopt), directory_(std::move(directory)), scrubs_(scrubs) {
    std::filesystem::create_directories(directory_ + "/runs");
    memory_ = Fd::open((directory_ + "/memory").c_str(), O_RDWR | O_CREAT).value();
    CHECK(::ftruncate(memory_.get(), kFakeFrames * kFrameSize) == 0);
  }

  Backing backing() const override { return Backing::kMemfd; }
  bool starts_unscrubbed() const override { return false; }

  Result<Extent> open_extent(FrameRun run, Open open) override {
    TRY(check(run));
    for (const FrameRun& other : TRY(existing())) {
      if (open == Open::kNew && run.overlaps(other)) return Error{Errc::kExists, 0, "in use"};
    }
    TRY(Fd::open(name(run).c_str(), O_RDWR | O_CREAT));
    return Extent{.first = run.first,
                  .frames = run.frames,
                  .backing = Backing::kMemfd,
                  .file = TRY(Fd::open((directory_ + "/memory").c_str(), O_RDWR)),
                  .file_offset = run.first.value() * kFrameSize};
  }
  Result<void> scrub(FrameRun run) override {
    TRY(exists(run));
    if (!scrubs_) return {};
    if (::fallocate(memory_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(run.first.value() * kFrameSize),
                    static_cast<off_t>(run.size_bytes())) != 0) {
      return os_error("cannot punch a hole");
    }
    return {};
  }
  Result<void> remove(FrameRun run) override {
    if (::unlink(name(run).c_str()) != 0) return os_error("cannot remove");
    return {};
  }
  Result<std::vector<FrameRun>> existing() const override {
    std::vector<FrameRun> runs;
    for (const auto& entry : std::filesystem::directory_iterator(directory_ + "/runs")) {
      const std::string text = entry.path().filename().string();
      const std::size_t dash = text.find('-');
      runs.push_back({FrameIndex(std::stoull(text)), std::stoull(text.substr(dash + 1))});
    }
    return runs;
  }
  Result<bool> held(FrameRun run) const override {
    TRY(exists(run));
    return std::filesystem::exists(directory_ + "/held");
  }

 private:
  std::string name(FrameRun run) const {
    return directory_ + "/runs/" + std::to_string(run.first.value()) + "-" +
           std::to_string(run.frames);
  }
  Result<void> exists(FrameRun run) const {
    if (std::filesystem::exists(name(run))) return {};
    return Error{Errc::kNotFound, 0, "no such run"};
  }

  std::string directory_;
  bool scrubs_;
  Fd memory_;
};

// A directory with a space in its name, removed at the end.
class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "bulkheadd test XXXXXX").string();
    CHECK(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::unique_ptr<FrameKeeper> make_keeper(const std::string& directory, bool scrubs = true,
                                                std::uint64_t per_user = kFakeFrames) {
  std::vector<PoolSource> pools;
  pools.push_back({.pool = std::make_unique<FakePool>(directory + "/pool", scrubs)});
  auto keeper = open_keeper(directory, std::move(pools), per_user);
  if (!keeper) log_failure("no-keeper", keeper.error());
  return std::move(keeper).value();
}

// A child process; killed at the end at the latest.
class Child {
 public:
  explicit Child(const std::function<void()>& body) : pid_(::fork()) {
    CHECK(pid_ >= 0);
    if (pid_ > 0) return;
    body();
    ::_exit(0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) kill_now();
  }
  void kill_now() {
    ::kill(pid_, SIGKILL);
    wait();
  }
  int wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, 0), &status, 0);
    return status;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

// What bulkheadd does, with a fake pool. Ends when it is killed.
inline void run_daemon(const std::string& directory, bool scrubs, std::uint64_t per_user) {
  const Fd lock = lock_runtime_dir(directory).value();
  const auto keeper = make_keeper(directory, scrubs, per_user);
  const auto loop = EventLoop::create().value();
  const auto server =
      Server::create(*loop, *keeper,
                     {.listener = listen_at(directory, std::nullopt).value(), .group = {}})
          .value();
  CHECK(loop->run().has_value());
}

}  // namespace bulkhead::daemon
