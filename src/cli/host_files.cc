// SPDX-License-Identifier: Apache-2.0
#include "cli/host_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "cli/error.h"
#include "hostca/certificate.h"

namespace bulkhead::cli {

using namespace hostca;

namespace {

constexpr std::size_t kMaxBytes = 256 * 1024;

std::vector<Bytes> read_directory(const std::string& path) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    const std::string ending = entry.path().extension().string();
    if (ending == ".pem" || ending == ".crt") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  std::vector<Bytes> all;
  for (const auto& file : files) {
    for (Bytes& der : read_certificates(file.string())) all.push_back(std::move(der));
  }
  if (all.empty()) {
    throw UsageError("'" + path + "' has no certificates: put PEM files there, *.pem or *.crt");
  }
  return all;
}

}  // namespace

void fail_with(const std::string& subject, const Error& error) {
  std::string text = subject + ": " + error.what;
  if (error.os_errno != 0) text += ": " + errno_text(error.os_errno);
  throw HostError(text);
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw UsageError("cannot read '" + path + "': " + errno_text(errno));
  std::string text(kMaxBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (file.bad()) throw UsageError("cannot read '" + path + "'; name a file");
  if (text.size() > kMaxBytes) throw UsageError("'" + path + "' is too long for what it should be");
  return text;
}

void write_file(const std::string& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) throw HostError("cannot write '" + path + "': " + errno_text(errno));
}

std::vector<Bytes> read_certificates(const std::string& path) {
  if (std::filesystem::is_directory(path)) return read_directory(path);
  return value_or_fail(read_pem(read_file(path)), "'" + path + "'");
}

}  // namespace bulkhead::cli
