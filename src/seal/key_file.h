// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "base/fd.h"
#include "seal/key_source.h"

namespace bulkhead {

// The key in the file's content: 32 raw bytes, or 64 hexadecimal digits with or without a newline.
Result<SecretBytes> parse_key(std::span<const std::byte> content);

// A key in a file of its own, which only its owner may read. The file is read at each key().
class KeyFile final : public KeySource {
 public:
  // Checks the file and its content. Each failure says what is wrong with it.
  static Result<KeyFile> open(std::string path);
  // Makes a file with a random key, 0600, and syncs it and its directory; kExists if there is one.
  static Result<KeyFile> create(std::string path);

  Result<SecretBytes> key() override;
  // Overwrites the file in place, syncs and removes it. A copy-on-write file system or a disk that
  // remaps blocks may keep the old bytes: docs/formats/sealed.md.
  Result<void> erase() override;

 private:
  explicit KeyFile(std::string path) : path_(std::move(path)) {}

  std::string path_;
  bool erased_ = false;
};

// A key file that another process opened, and checked: nothing of it but the descriptor.
class KeyDescriptor final : public KeySource {
 public:
  // Keeps a copy of the descriptor.
  static Result<KeyDescriptor> create(int fd);

  Result<SecretBytes> key() override;
  // kUnsupported: who opened the file erases it.
  Result<void> erase() override;

 private:
  explicit KeyDescriptor(Fd fd) : fd_(std::move(fd)) {}

  Fd fd_;
};

}  // namespace bulkhead
