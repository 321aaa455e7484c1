// SPDX-License-Identifier: Apache-2.0
#include "measure/measured_text.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <span>

namespace bulkhead {
namespace {

constexpr std::string_view kDiskKinds[] = {"plain", "sealed"};
// In the order of TpmState.
constexpr std::string_view kTpmStates[] = {"transient", "host-counter", "file-counter"};
constexpr std::string_view kDigestName = "sha256:";

Error malformed() {
  return Error{Errc::kMalformed, 0, "a measured text is not in its form"};
}
Error not_expressible() {
  return Error{Errc::kInvalidArgument, 0,
               "a string or a count cannot be measured: too long, or not printable ASCII"};
}

bool is_measurable(std::string_view text) {
  return text.size() <= kMaxMeasuredString &&
         std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

bool is_program_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxMeasuredString &&
         std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-';
         });
}

// One program has one line, and a set of programs one text.
bool are_program_names(std::span<const MeasuredProgram> programs) {
  const auto not_ascending = std::ranges::adjacent_find(
      programs, [](const auto& one, const auto& next) { return one.name >= next.name; });
  return programs.size() <= kMaxMeasuredItems && not_ascending == programs.end() &&
         std::ranges::all_of(programs, is_program_name, &MeasuredProgram::name);
}

class Lines {
 public:
  Lines& add(std::string_view key, std::string_view value) {
    text_.append(key).append("=").append(value).append("\n");
    return *this;
  }
  Lines& add(std::string_view key, std::uint64_t value) { return add(key, std::to_string(value)); }
  Lines& add_flag(std::string_view key, bool value) { return add(key, value ? "yes" : "no"); }
  std::string take() && { return std::move(text_); }

 private:
  std::string text_;
};

// Takes the lines one after the other; each has to have the key that is due.
class LineReader {
 public:
  explicit LineReader(std::string_view text) : rest_(text) {}

  bool empty() const { return rest_.empty(); }

  // Any key that begins so; what follows in the key goes to `ending`.
  Result<std::string_view> take(std::string_view key, std::string_view& ending) {
    const std::size_t end = rest_.find('\n');
    const std::size_t equals = rest_.substr(0, end).find('=');
    if (end == std::string_view::npos || equals == std::string_view::npos) return malformed();
    if (!rest_.substr(0, equals).starts_with(key)) return malformed();
    ending = rest_.substr(key.size(), equals - key.size());
    const std::string_view value = rest_.substr(equals + 1, end - equals - 1);
    rest_.remove_prefix(end + 1);
    return value;
  }

  Result<std::string_view> take(std::string_view key) {
    std::string_view ending;
    const std::string_view value = TRY(take(key, ending));
    if (!ending.empty()) return malformed();
    return value;
  }

  Result<std::uint64_t> number(std::string_view key) {
    const std::string_view digits = TRY(take(key));
    std::uint64_t value = 0;
    const auto [end, failure] = std::from_chars(digits.begin(), digits.end(), value);
    if (failure != std::errc() || end != digits.end()) return malformed();
    return value;
  }

  Result<unsigned> small_number(std::string_view key) {
    const std::uint64_t value = TRY(number(key));
    if (value > std::numeric_limits<std::uint16_t>::max()) return malformed();
    return static_cast<unsigned>(value);
  }

  // The place of the value among its names.
  Result<std::size_t> choice(std::string_view key, std::span<const std::string_view> names) {
    const auto found = std::ranges::find(names, TRY(take(key)));
    if (found == names.end()) return malformed();
    return static_cast<std::size_t>(found - names.begin());
  }

  Result<bool> flag(std::string_view key) {
    constexpr std::string_view kNames[] = {"no", "yes"};
    return TRY(choice(key, kNames)) == 1;
  }

 private:
  std::string_view rest_;
};

std::string disk_key(std::size_t number, std::string_view field) {
  return std::string("disk.").append(std::to_string(number)).append(".").append(field);
}

void add_disk(Lines& lines, std::size_t number, const MeasuredDisk& disk) {
  lines.add(disk_key(number, "kind"), kDiskKinds[static_cast<std::size_t>(disk.kind)])
      .add_flag(disk_key(number, "read_only"), disk.read_only)
      .add(disk_key(number, "identity"), disk.identity);
}

Result<MeasuredDisk> take_disk(LineReader& lines, std::size_t number) {
  MeasuredDisk disk;
  disk.kind =
      static_cast<MeasuredDisk::Kind>(TRY(lines.choice(disk_key(number, "kind"), kDiskKinds)));
  disk.read_only = TRY(lines.flag(disk_key(number, "read_only")));
  disk.identity = TRY(lines.take(disk_key(number, "identity")));
  return disk;
}

Result<Sha256Digest> digest_of(std::string_view text) {
  Sha256Digest digest;
  if (!text.starts_with(kDigestName)) return malformed();
  const auto bytes = decode_hex(text.substr(kDigestName.size()));
  if (!bytes || bytes->size() != digest.size()) return malformed();
  std::ranges::copy(*bytes, digest.begin());
  return digest;
}

Result<void> take_machine(LineReader& lines, MeasuredConfig& config) {
  const auto isolation = isolation_named(TRY(lines.take("isolation")));
  if (!isolation) return malformed();
  config.isolation = *isolation;
  config.debug = TRY(lines.flag("debug"));
  config.cpus = TRY(lines.small_number("cpus"));
  config.memory_bytes = TRY(lines.number("memory_bytes"));
  config.max_memory_bytes = TRY(lines.number("max_memory_bytes"));
  config.lock_memory = TRY(lines.flag("lock_memory"));
  config.resident_bytes = TRY(lines.number("resident_bytes"));
  config.compress = TRY(lines.flag("compress"));
  return {};
}

Result<void> take_devices(LineReader& lines, MeasuredConfig& config) {
  config.rng = TRY(lines.flag("rng"));
  config.balloon = TRY(lines.flag("balloon"));
  config.vsock = TRY(lines.flag("vsock"));
  config.nets = TRY(lines.small_number("nets"));
  config.tpm_state = static_cast<TpmState>(TRY(lines.choice("tpm_state", kTpmStates)));
  const unsigned disks = TRY(lines.small_number("disks"));
  if (disks > kMaxMeasuredItems) return malformed();
  for (std::size_t i = 0; i < disks; ++i) config.disks.push_back(TRY(take_disk(lines, i)));
  return {};
}

// Leading zeros, capital digits, strings that cannot be measured: all of it would be written
// otherwise.
template <class Value>
Result<Value> only_form(Value value, std::string_view text) {
  const Result<std::string> form = to_text(value);
  if (!form || *form != text) return malformed();
  return value;
}

}  // namespace

const char* to_string(TpmState state) {
  return kTpmStates[static_cast<std::size_t>(state)].data();
}

Result<std::string> to_text(const MonitorIdentity& identity) {
  if (!are_program_names(identity.programs) || !is_measurable(identity.version)) {
    return not_expressible();
  }
  Lines lines;
  lines.add("bulkhead_monitor", "1").add("version", identity.version);
  for (const MeasuredProgram& program : identity.programs) {
    lines.add("program." + program.name, std::string(kDigestName) + to_hex(program.digest));
  }
  return std::move(lines).take();
}

Result<std::string> to_text(const MeasuredConfig& config) {
  constexpr unsigned kMax = std::numeric_limits<std::uint16_t>::max();
  if (config.isolation == Isolation::kNone || config.disks.size() > kMaxMeasuredItems ||
      config.cpus > kMax || config.nets > kMax ||
      !std::ranges::all_of(config.disks, is_measurable, &MeasuredDisk::identity)) {
    return not_expressible();
  }
  Lines lines;
  lines.add("bulkhead_configuration", "1")
      .add("isolation", to_string(config.isolation))
      .add_flag("debug", config.debug)
      .add("cpus", config.cpus)
      .add("memory_bytes", config.memory_bytes)
      .add("max_memory_bytes", config.max_memory_bytes)
      .add_flag("lock_memory", config.lock_memory)
      .add("resident_bytes", config.resident_bytes)
      .add_flag("compress", config.compress)
      .add_flag("rng", config.rng)
      .add_flag("balloon", config.balloon)
      .add_flag("vsock", config.vsock)
      .add("nets", config.nets)
      .add("tpm_state", to_string(config.tpm_state))
      .add("disks", config.disks.size());
  for (std::size_t i = 0; i < config.disks.size(); ++i) add_disk(lines, i, config.disks[i]);
  return std::move(lines).take();
}

Result<MonitorIdentity> parse_monitor_identity(std::string_view text) {
  if (text.size() > kMaxMeasuredText) return malformed();
  LineReader lines(text);
  MonitorIdentity identity;
  TRY(lines.take("bulkhead_monitor"));
  identity.version = TRY(lines.take("version"));
  while (!lines.empty() && identity.programs.size() < kMaxMeasuredItems) {
    std::string_view name;
    const Sha256Digest digest = TRY(digest_of(TRY(lines.take("program.", name))));
    identity.programs.push_back({std::string(name), digest});
  }
  return only_form(std::move(identity), text);
}

Result<MeasuredConfig> parse_measured_config(std::string_view text) {
  if (text.size() > kMaxMeasuredText) return malformed();
  LineReader lines(text);
  MeasuredConfig config;
  TRY(lines.take("bulkhead_configuration"));
  TRY(take_machine(lines, config));
  TRY(take_devices(lines, config));
  return only_form(std::move(config), text);
}

}  // namespace bulkhead
