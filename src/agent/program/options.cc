// SPDX-License-Identifier: Apache-2.0
#include "agent/program/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>

#include "agent/evidence_source.h"
#include "base/base64.h"
#include "broker/names.h"
#include "crypto/digest.h"

namespace bulkhead::agent {
namespace {

constexpr const char* kFooter =
    "Exit status: 0 done, 1 refused by the broker or its policy, 2 wrong usage, 3 the broker "
    "could\n"
    "not be asked in time, or there is nothing to show it, 4 the command that got the secret "
    "failed.\n"
    "\n"
    "Examples:\n"
    "  bulkhead-agent get default/db/password --broker vsock:2:8443 --ca broker.pem \\\n"
    "      --server-name broker.example -- load-password\n"
    "  bulkhead-agent unlock /dev/vdb default/disk/key data --broker tcp:192.0.2.1:8443 \\\n"
    "      --ca broker.pem\n"
    "  bulkhead-agent evidence --nonce hex:00112233445566778899aabbccddeeff >evidence.json\n";

// As the words came.
struct Words {
  std::string broker;
  std::string pcrs;
  std::string nonce;
};

unsigned pcr_of(std::string_view text) {
  unsigned number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, number);
  if (code != std::errc() || stop != end || number >= kPcrCount) {
    throw UsageError("--pcrs '" + std::string(text) + "': PCRs are 0 to 23, as in 10,14");
  }
  return number;
}

// Those that are measured, and what the words name besides.
PcrSelections pcrs_of(std::string_view words) {
  std::uint32_t pcrs = kMeasuredPcrs;
  while (!words.empty()) {
    const std::size_t comma = std::min(words.find(','), words.size());
    pcrs |= 1U << pcr_of(words.substr(0, comma));
    words.remove_prefix(std::min(comma + 1, words.size()));
  }
  return {{TpmAlg::kSha256, pcrs}};
}

Bytes nonce_of(const std::string& text) {
  constexpr std::size_t kLeast = 8;
  constexpr std::size_t kMost = 64;
  const auto bytes = text.starts_with("hex:") ? decode_hex(std::string_view(text).substr(4))
                                              : decode_base64(Base64::kUrl, text);
  if (!bytes || bytes->size() < kLeast || bytes->size() > kMost) {
    throw UsageError("--nonce '" + text + "' is not 8 to 64 bytes in base64url, or hex:DIGITS");
  }
  return *bytes;
}

BrokerAddress address_of(const std::string& text) {
  auto address = parse_address(text);
  if (!address) throw UsageError("--broker '" + text + "': " + address.error().what);
  return std::move(*address);
}

bool is_mapping_name(std::string_view text) {
  const auto is_good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  };
  return !text.empty() && text.size() <= 127 && text[0] != '-' && text[0] != '.' &&
         std::ranges::all_of(text, is_good);
}

void check_get(const Options& options) {
  if (options.recipient.empty() && options.fd != 0) {
    throw UsageError("--fd is a descriptor of a command, which is missing: behind --");
  }
}

void check_unlock(const Options& options) {
  if (!options.device.starts_with('/')) {
    throw UsageError("'" + options.device + "' is no device: a path that begins with '/'");
  }
  if (!is_mapping_name(options.mapping)) {
    throw UsageError("'" + options.mapping + "' is no name of a mapping: letters, digits, '_-.'");
  }
}

void check_broker(Options& options) {
  if (!broker::is_resource_name(options.secret)) {
    throw UsageError("'" + options.secret + "' is no secret: REPOSITORY/TYPE/TAG");
  }
  if (!options.tenant.empty() && !broker::is_tenant_name(options.tenant)) {
    throw UsageError("--tenant '" + options.tenant + "': small letters, digits and '-'");
  }
  if (options.server_name.empty()) options.server_name = options.broker.host;
  const auto breaks = [](char c) { return c <= ' ' || c > '~'; };
  if (std::ranges::any_of(options.server_name, breaks)) {
    throw UsageError("--server-name has characters that no name of a server has");
  }
  if (options.server_name.empty()) {
    throw UsageError("--server-name is missing: a vsock address is no name that a certificate has");
  }
}

// The commands, and what of the line they understand.
class CommandLine {
 public:
  CommandLine() {
    app_.set_version_flag("--version", BULKHEAD_VERSION);
    app_.require_subcommand(1);
    app_.footer(kFooter);
    add_get();
    add_unlock();
    add_evidence();
  }

  Options run(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::Success& asked) {  // for help, or the version
      app_.exit(asked);
      return {};
    } catch (const CLI::ParseError& error) {
      const std::string text = error.what();
      throw UsageError(text.substr(0, text.find('\n')) + "; see --help");
    }
    return understood();
  }

 private:
  Options understood() {
    options_.pcrs = pcrs_of(words_.pcrs);
    if (options_.command == Options::Command::kEvidence) {
      options_.nonce = nonce_of(words_.nonce);
      return std::move(options_);
    }
    options_.broker = address_of(words_.broker);
    check_broker(options_);
    check_get(options_);
    if (options_.command == Options::Command::kUnlock) check_unlock(options_);
    return std::move(options_);
  }

  CLI::App& add(const char* name, const char* help, Options::Command command) {
    CLI::App& added = *app_.add_subcommand(name, help);
    added.callback([this, command] { options_.command = command; });
    added.add_option("--tpm", options_.tpm, "this partition's TPM")->capture_default_str();
    added.add_option("--event-log", options_.event_log, "what was measured at its start")
        ->capture_default_str();
    added.add_option("--pcrs", words_.pcrs, "PCRs besides 0 to 9, as in 10,14");
    return added;
  }
  void add_broker(CLI::App& command) {
    command.add_option("--broker", words_.broker, "tcp:ADDRESS:PORT or vsock:CID:PORT")->required();
    command.add_option("--ca", options_.ca, "certificates that the broker's must lead to, in PEM")
        ->required();
    command.add_option("--server-name", options_.server_name,
                       "the broker's name in its certificate (default: its address)");
    command.add_option("--tenant", options_.tenant, "whose secret (default: the only tenant's)");
    command.add_option("--timeout", options_.timeout_s, "seconds to try for")
        ->check(CLI::Range(1, 86400))
        ->capture_default_str();
  }
  void add_get() {
    CLI::App& get = add("get", "write a secret to standard output, or give it to a command",
                        Options::Command::kGet);
    add_broker(get);
    get.add_option("--fd", options_.fd, "the command's descriptor to read it from")
        ->check(CLI::Range(0, 255))
        ->capture_default_str();
    get.add_option("NAME", options_.secret, "REPOSITORY/TYPE/TAG")->required();
    get.add_option("COMMAND", options_.recipient, "behind --: who reads the secret");
  }
  void add_unlock() {
    CLI::App& unlock =
        add("unlock", "open a LUKS device with a secret as its key", Options::Command::kUnlock);
    add_broker(unlock);
    unlock.add_option("DEVICE", options_.device, "such as /dev/vda2")->required();
    unlock.add_option("NAME", options_.secret, "REPOSITORY/TYPE/TAG")->required();
    unlock.add_option("MAPPING", options_.mapping, "what appears in /dev/mapper")->required();
  }
  void add_evidence() {
    add("evidence", "print evidence for `bulkhead verify`", Options::Command::kEvidence)
        .add_option("--nonce", words_.nonce, "what the verifier gave out: base64url, or hex:DIGITS")
        ->required();
  }

  CLI::App app_{"bulkhead-agent: proves what this partition is, and gets secrets for it"};
  Words words_;
  Options options_;
};

}  // namespace

Options parse_options(int argc, char** argv) {
  return CommandLine().run(argc, argv);
}

}  // namespace bulkhead::agent
