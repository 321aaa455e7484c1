// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/fd.h"
#include "cli/runtime_dir.h"

namespace bulkhead::cli {

// One conversation with a partition's control socket (docs/formats/control.md).
class ControlClient {
 public:
  // Throws HostError when no such partition is running, or it does not answer.
  ControlClient(const RuntimeDir& runtime, const std::string& name);

  // Sends a request and returns what follows "ok". Throws HostError for "error ..." or silence.
  std::string ask(const std::string& request);
  // The same for a request that takes long: says on standard error that it goes on.
  std::string ask_patiently(const std::string& request, const std::string& activity);
  // Presses the power button, and presses it again from time to time: while a guest boots, nobody
  // may listen yet. Whether the partition ended in time.
  bool power_off(int timeout_ms);
  // Whether the partition closed the connection, that is, ended, in time.
  bool wait_for_end(int timeout_ms);
  // The connection, after "console" was answered.
  Fd take() { return std::move(connection_); }

 private:
  void send(const std::string& request);
  std::string read_line();
  std::string understand(const std::string& request, const std::string& answer);

  std::string name_;
  Fd connection_;
};

// The key=value words of an answer.
using StatusFields = std::map<std::string, std::string>;
StatusFields parse_status(const std::string& answer);
// 0 when the field is absent.
std::uint64_t number(const StatusFields& fields, const std::string& key);
// As options take it: "512M".
std::string mib_text(std::uint64_t bytes);

}  // namespace bulkhead::cli
