// SPDX-License-Identifier: Apache-2.0
#include "vmm/tpm_certificates.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "mem/daemon_connection.h"
#include "vtpm/partition_keys.h"

namespace bulkhead {
namespace {

// The host's TPM signs twice, maybe after others.
constexpr int kPatienceSeconds = 30;

Result<void> certify(vtpm::Platform& platform, const std::string& daemon_socket) {
  const vtpm::PublicAreas keys = TRY(vtpm::show_keys(platform));
  auto connection = TRY(daemon::Connection::open(daemon_socket, kPatienceSeconds));
  const daemon::TpmCertificates made =
      TRY(connection.certify(keys.endorsement_key, keys.attestation_key));
  return vtpm::write_certificates(platform,
                                  {made.endorsement_key, made.attestation_key, made.chain});
}

}  // namespace

bool is_own_tpm(int program_fd, const std::string& directory) {
  struct stat given{};
  struct stat own{};
  if (::fstat(program_fd, &given) != 0) return false;
  if (::lstat((directory + "/bulkhead-vtpm").c_str(), &own) != 0) return false;
  const bool ours = own.st_uid == 0 || own.st_uid == ::geteuid();
  return ours && S_ISREG(own.st_mode) && (own.st_mode & 022) == 0 && given.st_dev == own.st_dev &&
         given.st_ino == own.st_ino;
}

std::string own_directory() {
  std::array<char, 4096> path{};
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  const std::string_view program(path.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
  return std::string(program.substr(0, program.rfind('/')));
}

Result<void> certify_tpm(Tpm& tpm, const std::string& daemon_socket) {
  vtpm::Platform platform(tpm);
  const Result<void> certified = certify(platform, daemon_socket);
  if (!certified) TRY(vtpm::remove_certificates(platform));
  return certified;
}

Result<void> leave_uncertified(Tpm& tpm) {
  vtpm::Platform platform(tpm);
  return vtpm::remove_certificates(platform);
}

}  // namespace bulkhead
