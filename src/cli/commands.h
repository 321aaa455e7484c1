// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/run_options.h"

// What the subcommands do. Each returns the exit status, or throws UsageError or HostError.

namespace bulkhead::cli {

int run_command(const RunOptions& options);

struct MeasureOptions {
  bool json = false;
  std::string reference;  // a name: as a section of a policy
  std::string event_log;  // a file to write
};
// `run` is the partition that would be started.
int measure_command(const RunOptions& run, const MeasureOptions& options);

struct VerifyOptions {
  std::string evidence;
  std::string policy;
  std::string nonce;       // base64url, or hex:DIGITS; empty: none
  std::string nonce_time;  // when it was given out
  std::string trust;       // a directory of roots
  std::string secret;
  std::string time;  // to verify for; empty: now
  bool json = false;
  std::string ear;  // a file to write the signed result to
  std::string ear_key;
};
int verify_command(const VerifyOptions& options);

int ps_command(bool json);
int console_command(const std::string& name);
int doctor_command(bool json);
// `arguments` is what follows "lab": a script's name and its arguments, passed on unchanged.
int lab_command(int argc, char** argv);

int suspend_command(const std::string& name);
int resume_command(const std::string& name);

struct ResizeOptions {
  std::string name;
  std::string size;
  bool no_wait = false;
};
int resize_command(const ResizeOptions& options);

struct SharedOptions {
  std::string name;
  std::string read;  // ADDRESS:LENGTH; empty: list what is shared
};
int shared_command(const SharedOptions& options);

int key_create_command(const std::string& path);
int key_erase_command(const std::string& path);

struct StopOptions {
  std::string name;
  bool force = false;
  unsigned timeout_s = 30;
};
int stop_command(const StopOptions& options);

struct LedgerOptions {
  std::string action;  // show, audit or map
  bool json = false;
  std::string output;  // of the map
  bool text = false;
};
int ledger_command(const LedgerOptions& options);

}  // namespace bulkhead::cli
