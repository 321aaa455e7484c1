// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "mem/daemon_protocol.h"
#include "mem/ledger_view.h"

namespace bulkhead::daemon {

struct Answer {
  std::vector<std::byte> body;
  Fd file;
};

struct PoolStatus {
  Backing backing = Backing::kMemfd;
  std::optional<unsigned> numa_node = std::nullopt;
  std::uint64_t frames = 0;
  std::uint64_t free_frames = 0;
};

// What bulkheadd issues for the keys of a partition's TPM, in DER.
struct TpmCertificates {
  std::vector<std::byte> endorsement_key;
  std::vector<std::byte> attestation_key;
  std::vector<std::byte> chain;  // from the partition CA's up, one behind the other
};

// The banks that a start is measured into (src/measure/pcr_bank.h).
struct FileDigests {
  std::array<std::byte, 32> sha256{};
  std::array<std::byte, 48> sha384{};
};

struct MeasuredFile {
  FileDigests digests;
  Fd copy;
};

// The client's side of bulkheadd's socket, after the hello. One request at a time. It is closed
// once a request or its answer is lost, so that no answer is ever taken for another's.
class Connection {
 public:
  // None.
  Connection() = default;
  // kNotFound when no daemon listens there.
  static Result<Connection> open(const std::string& path, int patience_s);

  bool valid() const { return socket_.valid(); }
  void close() { socket_.reset(); }
  pid_t daemon() const;
  uid_t uid() const;  // the daemon's: anybody can have a socket of some name

  // kClosed: the daemon did not get the request.
  Result<void> send(Request request, std::span<const std::byte> body, int file = -1);
  // kClosed or kTimeout: the daemon may have done what it was asked. Other errors: it refused.
  Result<Answer> receive();
  Result<Answer> ask(Request request, std::span<const std::byte> body);

  // What anybody may ask who may connect.
  Result<LedgerView> snapshot();
  Result<std::vector<PoolStatus>> pools();

  // What only a monitor may ask: certificates for its TPM's keys, of which these are the public
  // areas.
  Result<TpmCertificates> certify(std::span<const std::byte> endorsement_key,
                                  std::span<const std::byte> attestation_key);

  // A counter in the host's TPM, also only for monitors.
  using CounterPassword = std::span<const std::byte, kCounterPasswordBytes>;
  Result<CounterValue> count(CounterAction action, std::uint32_t index, CounterPassword password);

  // What a file holds: digests and, if one is wanted, the copy that they are of. kPermission for a
  // copy that somebody could change.
  enum class Copy : bool { kNo, kYes };
  Result<MeasuredFile> measure(int file, Copy copy);

 private:
  explicit Connection(Fd socket) : socket_(std::move(socket)) {}

  Fd socket_;
  std::uint32_t serial_ = 0;
};

}  // namespace bulkhead::daemon
