// SPDX-License-Identifier: Apache-2.0
// `bulkhead host counters`: what counts the states of partitions' TPMs in this machine's own.
#include <charconv>
#include <cstdio>

#include "base/byte_reader.h"
#include "cli/error.h"
#include "cli/host_command.h"
#include "cli/host_files.h"
#include "hostca/tpm/host_tpm.h"

namespace bulkhead::cli {

using namespace hostca;

namespace {

// Offsets of docs/formats/vtpm.md: a record is at the start of each of the first two pages.
constexpr std::string_view kMagic = "BLKHTPC2";
constexpr std::size_t kIndexAt = 64;

std::uint32_t parse_index(const std::string& text) {
  std::uint32_t index = 0;
  const char* const end = text.data() + text.size();
  const char* const digits = text.data() + (text.starts_with("0x") ? 2 : 0);
  const auto [stop, failure] = std::from_chars(digits, end, index, 16);
  if (failure == std::errc() && stop == end) return index;
  throw UsageError("--remove '" + text + "' is no index; write it as the list has it: 0x01810000");
}

// 0: the host's TPM does not count there. Who wants to be sure has to have the key.
std::uint32_t index_in(const std::string& path) {
  const std::string file = read_file(path);
  for (const std::size_t page : {std::size_t{0}, kPageSize}) {
    if (file.size() < page + kIndexAt + sizeof(std::uint32_t)) continue;
    if (!std::string_view(file).substr(page).starts_with(kMagic)) continue;
    return get_le<std::uint32_t>(std::as_bytes(std::span(file)), page + kIndexAt);
  }
  throw HostError("'" + path + "' is no counter file of a TPM's state");
}

void print_index(std::uint32_t index) {
  std::printf("0x%08x\n", index);
}

}  // namespace

int host_counters(const HostOptions& options) {
  if (!options.counter_file.empty()) {
    const std::uint32_t index = index_in(options.counter_file);
    if (index == 0)
      throw HostError("'" + options.counter_file + "' is not counted by a host's TPM");
    print_index(index);
    return kExitOk;
  }
  const std::uint32_t removed = options.remove.empty() ? 0 : parse_index(options.remove);
  const auto tpm = value_or_fail(HostTpm::open(options.tpm), "the host's TPM");
  if (!options.remove.empty()) {
    check_or_fail(tpm->remove_counter(removed), options.remove);
    return kExitOk;
  }
  for (const std::uint32_t index : value_or_fail(tpm->counters(), "the host's TPM")) {
    print_index(index);
  }
  return kExitOk;
}

}  // namespace bulkhead::cli
