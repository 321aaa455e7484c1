// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "host/root.h"

// For tests: a file system tree of the test's making, gone with the object.

namespace bulkhead::host {

class FakeRoot {
 public:
  FakeRoot() {
    std::string name = std::filesystem::temp_directory_path() / "bulkhead-root-XXXXXX";
    directory_ = ::mkdtemp(name.data());
  }
  FakeRoot(const FakeRoot&) = delete;
  FakeRoot& operator=(const FakeRoot&) = delete;
  ~FakeRoot() { std::filesystem::remove_all(directory_); }

  FakeRoot& add(std::string_view file, std::string_view content = "") {
    std::filesystem::path path = directory_.string() + std::string(file);
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << content;
    return *this;
  }

  Root root() const { return Root(directory_); }

 private:
  std::filesystem::path directory_;
};

}  // namespace bulkhead::host
