// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bulkhead::host {

// The file system as the survey sees it, below a directory of the caller's choice. Every read is
// bounded; what is not there, or cannot be read, is simply absent.
class Root {
 public:
  explicit Root(std::string directory = "") : directory_(std::move(directory)) {}

  std::string path(std::string_view file) const { return directory_ + std::string(file); }
  bool exists(std::string_view file) const;
  // The first 256 KiB, trailing white space removed.
  std::optional<std::string> text(std::string_view file) const;
  std::optional<std::uint64_t> number(std::string_view file) const;
  // A module parameter or sysctl that says Y, or a number that is not 0.
  bool enabled(std::string_view file) const;
  // Names, sorted, without the hidden ones; at most 4096.
  std::vector<std::string> list(std::string_view directory) const;

 private:
  std::string directory_;
};

// "always [madvise] never" has chosen "madvise".
std::string chosen_word(std::string_view text);
// The words between white space.
std::vector<std::string_view> words(std::string_view text);
// The value of the first "key : value" line.
std::optional<std::string_view> field(std::string_view text, std::string_view key);
std::optional<std::uint64_t> parse_number(std::string_view text);
// A size as the kernel's command line has it: decimal or 0x, and K, M, G or T; what follows it is
// ignored, as memparse() leaves it to its caller.
std::optional<std::uint64_t> parse_size(std::string_view text);

}  // namespace bulkhead::host
