// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "hostca/state_directory.h"

// `bulkhead host`: the certificate of this machine's partition CA. docs/formats/enrolment.md.

namespace bulkhead::cli {

struct HostOptions {
  std::string action;  // enrol, show, counters or certify
  std::string state = hostca::StateDirectory::kDefaultPath;
  std::string tpm;      // where tpm2-tss finds it; empty: its own choice
  std::string request;  // enrol: a file to write; certify: to read
  std::string grant;    // enrol: a file to read; certify: to write
  bool software = false;
  bool json = false;
  std::string name;  // of the host
  std::string authority_key;
  std::string authority_certificates;
  std::string tpm_roots;
  unsigned days = 365;
  std::string counter_file;  // counters: whose index to tell
  std::string remove;        // counters: the index to remove
};
int host_command(const HostOptions& options);
int host_counters(const HostOptions& options);

}  // namespace bulkhead::cli
