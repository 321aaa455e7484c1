// SPDX-License-Identifier: Apache-2.0
#include "vmm/measurer.h"

#include <algorithm>

#include "base/log.h"

namespace bulkhead {
namespace {

// So long it may take to hash what others want measured before us.
constexpr int kPatienceSeconds = 30;

DigestSet digests_of(const daemon::FileDigests& given) {
  DigestSet digests{Digest(HashAlgorithm::kSha256), Digest(HashAlgorithm::kSha384)};
  std::ranges::copy(given.sha256, digests[0].bytes().begin());
  std::ranges::copy(given.sha384, digests[1].bytes().begin());
  return digests;
}

}  // namespace

Result<daemon::MeasuredFile> Measurer::ask_daemon(int fd, Copy copy) const {
  auto connection = TRY(daemon::Connection::open(socket_, kPatienceSeconds));
  if (connection.uid() != daemon_uid_) {
    return Error{Errc::kPermission, 0, "the daemon is not root's: it is not believed"};
  }
  return connection.measure(fd, copy);
}

std::optional<daemon::MeasuredFile> Measurer::ask(int fd, Copy copy) const {
  if (socket_.empty()) return std::nullopt;
  Result<daemon::MeasuredFile> measured = ask_daemon(fd, copy);
  if (measured) return std::move(*measured);
  log_info("measured_here", {{"reason", measured.error().what}});
  return std::nullopt;
}

Result<DigestSet> Measurer::program(int fd) const {
  if (const auto measured = ask(fd, Copy::kNo)) return digests_of(measured->digests);
  return measure_program(fd);
}

std::optional<MeasuredCopy> Measurer::copy_of_daemon(int fd) const {
  auto measured = ask(fd, Copy::kYes);
  if (!measured) return std::nullopt;
  return MeasuredCopy(std::move(measured->copy), digests_of(measured->digests));
}

Result<MeasuredCopy> Measurer::copy(int fd) const {
  if (auto copy = copy_of_daemon(fd)) return std::move(*copy);
  return MeasuredCopy::make(fd);
}

}  // namespace bulkhead
