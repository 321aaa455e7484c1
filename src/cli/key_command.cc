// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "cli/commands.h"
#include "cli/error.h"
#include "seal/key_file.h"

namespace bulkhead::cli {
namespace {

[[noreturn]] void fail(const std::string& path, const Error& error) {
  throw HostError("key file '" + path + "': " + error.what +
                  (error.os_errno != 0 ? ": " + errno_text(error.os_errno) : ""));
}

}  // namespace

int key_create_command(const std::string& path) {
  auto created = KeyFile::create(path);
  if (!created) fail(path, created.error());
  std::printf("%s holds a new key; whoever has it opens what it seals\n", path.c_str());
  return kExitOk;
}

int key_erase_command(const std::string& path) {
  auto file = KeyFile::open(path);
  if (!file) fail(path, file.error());
  if (auto erased = file->erase(); !erased) fail(path, erased.error());
  std::printf("%s is erased; nothing that it sealed can be opened again\n", path.c_str());
  return kExitOk;
}

}  // namespace bulkhead::cli
