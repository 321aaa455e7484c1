// SPDX-License-Identifier: Apache-2.0
#include "attest/trust_directory.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace bulkhead {
namespace {

constexpr std::size_t kMaxPemBytes = 1024 * 1024;

std::vector<std::filesystem::path> root_files(const std::string& directory,
                                              std::error_code& error) {
  std::vector<std::filesystem::path> files;
  std::filesystem::directory_iterator entry(directory, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const auto ending = entry->path().extension();
    if (ending == ".pem" || ending == ".crt") files.push_back(entry->path());
  }
  std::ranges::sort(files);
  return files;
}

bool add_file(TrustStore& store, const std::string& path, std::string& error) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxPemBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (!file.is_open() || file.bad() || text.size() > kMaxPemBytes) {
    error = "root '" + path + "' cannot be read, or has more than 1 MiB";
    return false;
  }
  const Result<void> added = store.add_pem(text);
  if (!added) error = "root '" + path + "': " + added.error().what;
  return added.has_value();
}

}  // namespace

std::optional<TrustStore> read_trust_directory(const std::string& directory, std::string& error) {
  Result<TrustStore> store = TrustStore::create();
  if (!store) {
    error = store.error().what;
    return std::nullopt;
  }
  std::error_code failure;
  const auto files = root_files(directory, failure);
  if (failure) {
    error = "trust directory '" + directory + "': " + failure.message() +
            "; name a directory with roots in PEM form";
    return std::nullopt;
  }
  for (const auto& file : files) {
    if (!add_file(*store, file.string(), error)) return std::nullopt;
  }
  if (store->size() == 0) {
    error = "trust directory '" + directory + "' has no *.pem or *.crt: put roots there";
    return std::nullopt;
  }
  return std::move(*store);
}

}  // namespace bulkhead
