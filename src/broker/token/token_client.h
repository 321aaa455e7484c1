// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/thread_annotations.h"
#include "broker/key_token.h"
#include "broker/token/token_messages.h"

namespace bulkhead::broker {

// The broker's side of the token process: starts it, and again whenever it ends. Meanwhile every
// call fails with kBusy. Thread-safe.
class TokenClient final : public KeyToken {
 public:
  struct Options {
    std::vector<std::string> command;  // the program first
    int start_ms = 10'000;             // until it must have opened the token
    int answer_ms = 5'000;             // after this it counts as hung, and is killed
    int pause_ms = 100;                // between two starts
  };

  // Returns once the token is open; otherwise what the first start failed with.
  static Result<std::unique_ptr<TokenClient>> start(Options options);
  ~TokenClient() override;

  Result<void> make_keys(const std::string& tenant) override;
  Result<Bytes> wrap(const std::string& tenant, const SecretBytes& key) override;
  Result<SecretBytes> unwrap(const std::string& tenant,
                             std::span<const std::byte> wrapped) override;
  Result<Bytes> sign(const std::string& tenant, const Sha256Digest& digest) override;
  Result<Bytes> public_point(const std::string& tenant) override;

  bool is_up();
  std::uint64_t starts() const { return starts_; }
  // 0 while there is none.
  int process_id();

 private:
  struct Process {
    Fd socket;
    Fd pidfd;
    int id = 0;
  };

  explicit TokenClient(Options options, Fd stop)
      : options_(std::move(options)), stop_(std::move(stop)) {}
  Result<Process> spawn();
  Result<void> await_ready(const Process& process);
  Result<void> install();
  void supervise();
  bool wait(int fd, int timeout_ms);
  void retire() EXCLUDES(mutex_);
  Result<SecretBytes> call(const TokenRequest& request);
  Result<SecretBytes> exchange(const SecretBytes& message) REQUIRES(mutex_);

  const Options options_;
  Fd stop_;  // an eventfd: the supervisor shall end
  std::atomic<std::uint64_t> starts_ = 0;
  Mutex mutex_;
  Process process_ GUARDED_BY(mutex_);
  std::thread supervisor_;  // last: it uses all the others
};

}  // namespace bulkhead::broker
