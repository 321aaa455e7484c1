// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "agent/address.h"
#include "measure/pcr_values.h"

namespace bulkhead::agent {

class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The command line, understood.
struct Options {
  enum class Command : std::uint8_t { kNone, kGet, kUnlock, kEvidence };

  Command command = Command::kNone;  // kNone: help or version was asked for, and printed
  // Of the broker.
  BrokerAddress broker;
  std::string ca;  // a file
  std::string server_name;
  std::string tenant;
  unsigned timeout_s = 120;
  // Of the partition.
  std::string tpm = "/dev/tpmrm0";
  std::string event_log = "/sys/kernel/security/tpm0/binary_bios_measurements";
  PcrSelections pcrs;
  // Of the command.
  std::string secret;
  int fd = 0;
  std::vector<std::string> recipient;
  std::string device;
  std::string mapping;
  Bytes nonce;
};

// Throws UsageError, which says what to do.
Options parse_options(int argc, char** argv);

}  // namespace bulkhead::agent
