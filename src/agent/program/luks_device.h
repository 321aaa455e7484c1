// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace bulkhead::agent {

// An encrypted disk, and a copy of its header, which whoever provides the disk cannot change any
// more: what was looked at is what is opened. Throws Failed for a header that is not good.
class LuksDevice {
 public:
  explicit LuksDevice(const std::string& device);
  LuksDevice(const LuksDevice&) = delete;
  LuksDevice& operator=(const LuksDevice&) = delete;

  // A command that reads the key from its standard input.
  std::vector<std::string> open_command(const std::string& mapping) const;

 private:
  // Removes itself, also if the constructor throws.
  struct Directory {
    Directory();
    ~Directory();
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;

    std::string path = "/run/bulkhead-agent.XXXXXX";
  };

  std::string header() const { return directory_.path + "/header"; }

  const std::string device_;
  const Directory directory_;
};

}  // namespace bulkhead::agent
