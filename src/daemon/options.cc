// SPDX-License-Identifier: Apache-2.0
#include "daemon/options.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <limits>
#include <string_view>

#include "mem/ledger_format.h"

namespace bulkhead::daemon {
namespace {

constexpr unsigned kMaxNode = 1023;

constexpr const char* kFooter =
    "Sizes are binary: K, M, G, T, and multiples of 2M. The host reserves memory for carved pools\n"
    "with memmap=SIZE$ADDRESS on its command line, and for hugetlb ones with vm.nr_hugepages.\n"
    "\n"
    "Exit status: 0 ended by SIGTERM or SIGINT, 1 failed, 2 wrong usage.\n"
    "\n"
    "Examples:\n"
    "  bulkheadd --pool memfd:8G --per-user 4G\n"
    "  bulkheadd --pool hugetlb:4G@0 --pool hugetlb:4G@1 --pool carved:2G@0x100000000\n";

std::uint64_t unit_of(std::string_view unit) {
  if (unit == "K" || unit == "k" || unit == "KiB") return kKiB;
  if (unit == "M" || unit == "m" || unit == "MiB") return kMiB;
  if (unit == "G" || unit == "g" || unit == "GiB") return kGiB;
  if (unit == "T" || unit == "t" || unit == "TiB") return 1024 * kGiB;
  return 0;
}

unsigned parse_node(const std::string& option, std::string_view text) {
  unsigned node = 0;
  const char* end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, node);
  if (code == std::errc{} && stop == end && node <= kMaxNode) return node;
  throw UsageError(option + ": '" + std::string(text) + "' is no NUMA node; write @0");
}

// CLI11's messages may have several lines.
std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

void check(const DaemonOptions& options) {
  if (options.pools.empty()) {
    throw UsageError("no --pool; write for example --pool memfd:8G");
  }
  if (options.pools.size() > ledger::kMaxPools) throw UsageError("more than 16 --pool options");
  std::uint64_t frames = 0;
  for (const PoolOption& pool : options.pools) frames += pool.size_bytes / kFrameSize;
  if (frames > ledger::kMaxFrames) throw UsageError("the pools have more than 8T in all");
  if (options.runtime_dir.empty() || options.runtime_dir.front() != '/') {
    throw UsageError("--runtime-dir '" + options.runtime_dir + "' is not an absolute path");
  }
}

CertifyFor parse_certify(const std::string& text) {
  if (text == "none") return CertifyFor::kNobody;
  if (text == "root") return CertifyFor::kRoot;
  if (text == "group") return CertifyFor::kGroup;
  throw UsageError("--certify '" + text + "' is none of: none, root, group");
}

void add_host_options(CLI::App& app, DaemonOptions& options, std::string& certify) {
  app.add_option("--certify", certify,
                 "whose partitions get certificates and counters for their TPMs: none, root "
                 "(default), or all "
                 "of the group's")
      ->option_text("WHO");
  app.add_option("--host-state", options.host_state,
                 std::string("what 'bulkhead host enrol' left (default ") +
                     hostca::StateDirectory::kDefaultPath + ")")
      ->option_text("DIR");
  app.add_option("--host-tpm", options.tpm,
                 "the host's TPM, as tpm2-tss names it (default device:/dev/tpmrm0)")
      ->option_text("TCTI");
}

}  // namespace

std::uint64_t parse_frames_size(const std::string& option, const std::string& text) {
  std::uint64_t count = 0;
  const char* end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, count);
  const std::uint64_t unit = unit_of({stop, static_cast<std::size_t>(end - stop)});
  if (code != std::errc{} || unit == 0) {
    throw UsageError(option + " '" + text + "' is not a size; write 512M or 4G");
  }
  if (count > std::numeric_limits<std::uint64_t>::max() / unit) {
    throw UsageError(option + " '" + text + "' is too large for any machine");
  }
  if (count == 0 || count * unit % kFrameSize != 0) {
    throw UsageError(option + " '" + text + "' is not a multiple of 2M");
  }
  return count * unit;
}

PoolOption parse_pool(const std::string& text) {
  const std::string option = "--pool '" + text + "'";
  const std::size_t colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  PoolOption pool;
  if (kind == "hugetlb") {
    pool.backing = Backing::kHugetlb;
  } else if (kind == "carved") {
    pool.backing = Backing::kCarved;
  } else if (kind != "memfd") {
    throw UsageError(option + ": the kind is memfd, hugetlb or carved");
  }
  if (colon == std::string::npos) throw UsageError(option + " has no size; write " + kind + ":4G");
  const std::string rest = text.substr(colon + 1);
  const std::size_t at = rest.find('@');
  pool.size_bytes = parse_frames_size("--pool", rest.substr(0, at));
  if (pool.backing == Backing::kCarved) {
    if (at == std::string::npos) {
      throw UsageError(option + " has no address; write carved:2G@0x100000000, as in memmap=");
    }
    pool.carved = rest;
  } else if (at != std::string::npos) {
    pool.numa_node = parse_node(option, std::string_view(rest).substr(at + 1));
  }
  return pool;
}

std::optional<gid_t> group_of(const DaemonOptions& options, const GroupLookup& lookup) {
  if (options.group == "none") return std::nullopt;
  if (options.group.empty()) return lookup(kDefaultGroup);
  if (const std::optional<gid_t> group = lookup(options.group)) return group;
  throw UsageError("there is no group '" + options.group +
                   "'; create it, or name another with --group");
}

std::optional<DaemonOptions> parse_options(int argc, char** argv) {
  CLI::App app("bulkheadd keeps the host's frames: who owns which, and that nobody inherits data.",
               "bulkheadd");
  app.set_version_flag("--version", std::string("bulkheadd ") + BULKHEAD_VERSION);
  app.footer(kFooter);
  DaemonOptions options;
  std::vector<std::string> pools;
  std::string per_user;
  std::string certify = "root";
  app.add_option("--pool", pools,
                 "frames to keep: memfd:SIZE[@NODE], hugetlb:SIZE[@NODE] or "
                 "carved:SIZE@ADDRESS; may be repeated")
      ->allow_extra_args(false)
      ->option_text("KIND:SIZE");
  app.add_option("--per-user", per_user, "most that all partitions of one user hold (default: all)")
      ->option_text("SIZE");
  app.add_option("--runtime-dir", options.runtime_dir,
                 "where the socket, the ledger and the pools are (default /run/bulkheadd)")
      ->option_text("DIR");
  app.add_option("--group", options.group,
                 "group that may connect, 'none' for root alone (default kvm, if there is one)")
      ->option_text("NAME");
  add_host_options(app, options, certify);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help, --version
    app.exit(wanted);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    throw UsageError(first_line(error.what()) + "; see 'bulkheadd --help'");
  }
  for (const std::string& pool : pools) options.pools.push_back(parse_pool(pool));
  if (!per_user.empty()) options.per_user_bytes = parse_frames_size("--per-user", per_user);
  options.certify = parse_certify(certify);
  check(options);
  return options;
}

}  // namespace bulkhead::daemon
