// SPDX-License-Identifier: Apache-2.0
#include "agent/program/luks_device.h"

#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "agent/hand_over.h"
#include "agent/program/failure.h"
#include "agent/protocol/luks_header.h"

namespace bulkhead::agent {
namespace {

constexpr std::size_t kMaxOutputBytes = 4 * 1024 * 1024;

std::string cryptsetup(std::vector<std::string> words, const std::string& device) {
  words.insert(words.begin(), "cryptsetup");
  return value_of(output_of(words, kMaxOutputBytes), kExitNotHandedOver, "cryptsetup of " + device);
}

}  // namespace

LuksDevice::Directory::Directory() {
  if (::mkdtemp(path.data()) == nullptr) {
    throw Failed(kExitNotHandedOver,
                 std::string("no directory in /run: ") + strerrordesc_np(errno));
  }
}
LuksDevice::Directory::~Directory() {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

LuksDevice::LuksDevice(const std::string& device) : device_(device) {
  cryptsetup({"luksHeaderBackup", "--header-backup-file", header(), device}, device);
  const std::string faults =
      luks_header_faults(cryptsetup({"luksDump", "--dump-json-metadata", header()}, device));
  if (faults.empty()) return;
  throw Failed(kExitNotHandedOver, device + ": the disk's header is refused: " + faults +
                                       "; cryptsetup luksFormat --type luks2 makes a good one");
}

std::vector<std::string> LuksDevice::open_command(const std::string& mapping) const {
  return {"cryptsetup", "--batch-mode", "--type", "luks2", "--header",
          header(),     "--key-file=-", "open",   device_, mapping};
}

}  // namespace bulkhead::agent
