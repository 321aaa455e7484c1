// SPDX-License-Identifier: Apache-2.0
#include "agent/program/app.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "agent/file.h"
#include "agent/hand_over.h"
#include "agent/program/failure.h"
#include "agent/program/luks_device.h"
#include "agent/program/options.h"
#include "agent/protocol/obtain.h"
#include "agent/tpm_device.h"
#include "attest/json/evidence_json.h"
#include "crypto/openssl_memory.h"
#include "measure/event_log.h"

namespace bulkhead::agent {
namespace {

constexpr std::size_t kMaxPemBytes = 256 * 1024;

void complain(std::string text) {
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  std::fprintf(stderr, "bulkhead-agent: %s\n", text.c_str());
}

// No core file, no ptrace, and no configuration of OpenSSL's: it could load code and weaken TLS.
void harden_process() {
  const char* found = std::getenv("OPENSSL_CONF");
  const std::string before = found == nullptr ? "" : found;
  ::setenv("OPENSSL_CONF", "/dev/null", 1);
  static_cast<void>(keep_openssl_memory_secret());
  if (found == nullptr) {
    ::unsetenv("OPENSSL_CONF");
  } else {
    ::setenv("OPENSSL_CONF", before.c_str(), 1);
  }
  const rlimit none{0, 0};
  if (::prctl(PR_SET_DUMPABLE, 0) != 0 || ::setrlimit(RLIMIT_CORE, &none) != 0) {
    throw Failed(kExitNotAsked, "cannot forbid core files");
  }
  ::signal(SIGPIPE, SIG_IGN);
}

// The TPM, and what is shown of it.
struct Partition {
  explicit Partition(const Options& options)
      : tpm(value_of(TpmDevice::open(options.tpm.c_str()), kExitNotAsked, options.tpm)),
        source(value_of(
            EvidenceSource::create(tpm, {.pcrs = options.pcrs, .event_log = log_of(options)}),
            kExitNotAsked, options.tpm)) {}

  static Bytes log_of(const Options& options) {
    return value_of(read_file(options.event_log.c_str(), kMaxEventLogBytes), kExitNotAsked,
                    options.event_log + " (of securityfs, which has to be mounted)");
  }

  TpmDevice tpm;
  EvidenceSource source;
};

Request request_of(const Options& options) {
  const Bytes pem = value_of(read_file(options.ca.c_str(), kMaxPemBytes), kExitUsage, options.ca);
  const auto* text = static_cast<const char*>(static_cast<const void*>(pem.data()));
  return {.address = options.broker,
          .server = {.ca_pem = std::string(text, pem.size()), .name = options.server_name},
          .tenant = options.tenant,
          .secret = options.secret,
          .timeout = std::chrono::seconds(options.timeout_s)};
}

SecretBytes obtain_secret(const Options& options) {
  const Request request = request_of(options);
  Partition partition(options);
  const auto tell = [](const std::string& what, std::chrono::milliseconds wait) {
    complain(what + "; again in " + std::to_string(wait.count()) + " ms");
  };
  Outcome outcome = obtain(request, partition.source, tell);
  if (outcome.kind == Outcome::Kind::kReleased) return std::move(*outcome.secret);
  for (const std::string& reason : outcome.reasons) complain(reason);
  throw Failed(outcome.kind == Outcome::Kind::kRefused ? kExitRefused : kExitNotAsked,
               outcome.text);
}

int hand_to(const Recipient& recipient, const SecretBytes& secret) {
  const int status =
      value_of(run_with_secret(recipient, secret), kExitNotHandedOver, recipient.command[0]);
  if (status == 0) return 0;
  throw Failed(kExitNotHandedOver,
               recipient.command[0] + " ended with status " + std::to_string(status));
}

int get(const Options& options) {
  const bool to_command = !options.recipient.empty();
  // Before anybody is asked: a secret that cannot be given away is better not fetched.
  if (!to_command && ::isatty(STDOUT_FILENO) != 0) {
    throw Failed(kExitUsage,
                 "a secret is not written to a terminal: send it to a file or a pipe, or give a "
                 "command behind --");
  }
  const SecretBytes secret = obtain_secret(options);
  if (to_command) return hand_to({.command = options.recipient, .fd = options.fd}, secret);
  const auto written = write_secret(STDOUT_FILENO, secret);
  if (!written) value_of<int>(written.error(), kExitNotHandedOver, "standard output");
  return 0;
}

int unlock(const Options& options) {
  // Before anybody is asked: no key for a disk that is not what it should be.
  const LuksDevice device(options.device);
  return hand_to({.command = device.open_command(options.mapping)}, obtain_secret(options));
}

int evidence(const Options& options) {
  Partition partition(options);
  const Challenge challenge{.nonce = options.nonce, .requester_key = {}};
  const Evidence made = value_of(partition.source.make(challenge), kExitNotAsked, options.tpm);
  const std::string text = write_evidence(made);
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (!written || std::fflush(stdout) != 0) {
    throw Failed(kExitNotHandedOver, "standard output: the evidence cannot be written");
  }
  return 0;
}

int run_command(const Options& options) {
  switch (options.command) {
    case Options::Command::kNone:
      return 0;
    case Options::Command::kGet:
      return get(options);
    case Options::Command::kUnlock:
      return unlock(options);
    case Options::Command::kEvidence:
      return evidence(options);
  }
  return kExitUsage;
}

}  // namespace

int run_program(int argc, char** argv) {
  try {
    harden_process();
    return run_command(parse_options(argc, argv));
  } catch (const UsageError& error) {
    complain(error.what());
    return kExitUsage;
  } catch (const Failed& error) {
    complain(error.what());
    return error.status;
  } catch (const std::exception& error) {
    complain(error.what());
    return kExitNotAsked;
  }
}

}  // namespace bulkhead::agent
