// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "measure/tpm_wire.h"

// The files of `bulkhead host`. All throw HostError or UsageError, with the file's name.

namespace bulkhead::cli {

[[noreturn]] void fail_with(const std::string& subject, const Error& error);

template <class T>
T value_or_fail(Result<T> result, const std::string& subject) {
  if (!result) fail_with(subject, result.error());
  return std::move(result).value();
}
inline void check_or_fail(const Result<void>& result, const std::string& subject) {
  if (!result) fail_with(subject, result.error());
}

// At most 256 KiB.
std::string read_file(const std::string& path);
// A new file, or another content for an old one.
void write_file(const std::string& path, std::string_view text);
// Of one file, or of all *.pem and *.crt in a directory.
std::vector<Bytes> read_certificates(const std::string& path);

}  // namespace bulkhead::cli
