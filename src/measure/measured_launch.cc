// SPDX-License-Identifier: Apache-2.0
#include "measure/measured_launch.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/byte_reader.h"

namespace bulkhead {
namespace {

using namespace std::string_view_literals;

// Where each event is among those of a launch: between the ACPI tables and the kernel lie the
// separators.
constexpr std::size_t kMonitorEvent = 0;
constexpr std::size_t kConfigEvent = 1;
constexpr std::size_t kAcpiEvent = 2;
constexpr std::size_t kKernelEvent = 3 + kSeparatorPcrs;
constexpr std::size_t kCommandLineEvent = kKernelEvent + 1;
constexpr std::size_t kInitrdEvent = kKernelEvent + 2;
constexpr std::size_t kLaunchEvents = kKernelEvent + 3;

constexpr std::string_view kCommandLinePrefix = "kernel_cmdline: ";
constexpr std::string_view kInitrd = "initrd\0"sv;
constexpr std::string_view kNoInitrd = "no initrd\0"sv;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}
std::string_view text_of(const LogEvent& event) {
  return {static_cast<const char*>(static_cast<const void*>(event.data.data())), event.data.size()};
}
std::vector<std::byte> to_vector(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

// The events of one launch under construction.
class Launch {
 public:
  explicit Launch(std::span<const HashAlgorithm> banks) : banks_(banks) {
    events_.reserve(kLaunchEvents);
  }

  // The digest is of the event's own data.
  Result<void> add(Pcr pcr, EventType type, std::span<const std::byte> data) {
    events_.push_back({pcr, type, TRY(MultiHash::of(banks_, data)), to_vector(data)});
    return {};
  }
  // The data says what something is that has these digests.
  Result<void> add(Pcr pcr, EventType type, const DigestSet& digests,
                   std::span<const std::byte> data) {
    if (!std::ranges::equal(digests, banks_, {}, &Digest::algorithm)) {
      return Error{Errc::kInvalidArgument, 0, "what is measured lacks the digest of a bank"};
    }
    events_.push_back({pcr, type, digests, to_vector(data)});
    return {};
  }

  Result<void> add_separators();
  Result<void> add_command_line(std::string_view line);
  Result<void> add_initrd(const std::optional<DigestSet>& initrd);
  std::vector<LogEvent> take() && { return std::move(events_); }

 private:
  std::span<const HashAlgorithm> banks_;
  std::vector<LogEvent> events_;
};

// TCG_PCClientTaggedEvent: PFP §10.4.2.1.
std::vector<std::byte> tagged(EventTag tag, std::string_view text) {
  constexpr std::size_t kTextAt = 8;
  std::vector<std::byte> data(kTextAt + text.size());
  put_le(std::span(data), 0, static_cast<std::uint32_t>(tag));
  put_le(std::span(data), 4, static_cast<std::uint32_t>(text.size()));
  std::ranges::copy(bytes_of(text), data.begin() + kTextAt);
  return data;
}

// Four zero bytes: the monitor's part ended without an error (PFP §10.4.1, EV_SEPARATOR).
Result<void> Launch::add_separators() {
  constexpr std::array<std::byte, 4> kNoError{};
  const DigestSet digests = TRY(MultiHash::of(banks_, kNoError));
  for (unsigned i = 0; i < kSeparatorPcrs; ++i) {
    TRY(add(static_cast<Pcr>(i), EventType::kSeparator, digests, kNoError));
  }
  return {};
}

// As GRUB does it: the digest is of the line alone, and the data has a prefix and a NUL.
Result<void> Launch::add_command_line(std::string_view line) {
  if (line.size() > kMaxMeasuredCommandLine || line.find('\0') != std::string_view::npos) {
    return Error{Errc::kInvalidArgument, 0, "the command line is too long, or contains a NUL"};
  }
  const std::string data = std::string(kCommandLinePrefix).append(line).append(1, '\0');
  return add(kCommandLinePcr, EventType::kIpl, TRY(MultiHash::of(banks_, bytes_of(line))),
             bytes_of(data));
}

// Without an initrd there is an event nevertheless: a PCR that nothing was extended into would be
// the guest's to fill, with the digest of any initrd that it likes. No initrd is empty.
Result<void> Launch::add_initrd(const std::optional<DigestSet>& initrd) {
  if (initrd) return add(kInitrdPcr, EventType::kIpl, *initrd, bytes_of(kInitrd));
  return add(kInitrdPcr, EventType::kIpl, TRY(MultiHash::of(banks_, {})), bytes_of(kNoInitrd));
}

Error not_a_launch() {
  return Error{Errc::kMalformed, 0, "the events are not those of a partition's start"};
}

Result<std::string> command_line_of(const LogEvent& event) {
  std::string_view text = text_of(event);
  if (!text.starts_with(kCommandLinePrefix) || !text.ends_with('\0')) return not_a_launch();
  text.remove_prefix(kCommandLinePrefix.size());
  text.remove_suffix(1);
  return std::string(text);
}

}  // namespace

Result<std::vector<LogEvent>> measure_launch(const LaunchFacts& facts,
                                             std::span<const HashAlgorithm> banks) {
  Launch launch(banks);
  TRY(launch.add(kMonitorPcr, EventType::kSCrtmVersion, bytes_of(TRY(to_text(facts.monitor)))));
  TRY(launch.add(kConfigPcr, EventType::kPlatformConfigFlags,
                 bytes_of(TRY(to_text(facts.config)))));
  TRY(launch.add(kConfigPcr, EventType::kEventTag, facts.acpi_tables,
                 tagged(EventTag::kAcpiTables, "ACPI tables")));
  TRY(launch.add_separators());
  TRY(launch.add(kKernelPcr, EventType::kEventTag, facts.kernel,
                 tagged(EventTag::kKernel, "kernel")));
  TRY(launch.add_command_line(facts.command_line));
  TRY(launch.add_initrd(facts.initrd));
  return std::move(launch).take();
}

// Only what cannot be computed is taken from the events; they are then compared as a whole.
Result<LaunchFacts> read_launch(std::span<const LogEvent> events,
                                std::span<const HashAlgorithm> banks) {
  if (events.size() != kLaunchEvents) return not_a_launch();
  LaunchFacts facts;
  facts.monitor = TRY(parse_monitor_identity(text_of(events[kMonitorEvent])));
  facts.config = TRY(parse_measured_config(text_of(events[kConfigEvent])));
  facts.acpi_tables = events[kAcpiEvent].digests;
  facts.kernel = events[kKernelEvent].digests;
  facts.command_line = TRY(command_line_of(events[kCommandLineEvent]));
  const LogEvent& initrd = events[kInitrdEvent];
  if (text_of(initrd) != kNoInitrd) facts.initrd = initrd.digests;
  const auto again = measure_launch(facts, banks);
  if (!again || !std::ranges::equal(*again, events)) return not_a_launch();
  return facts;
}

Result<std::vector<PcrBank>> predict_pcrs(std::span<const LogEvent> events,
                                          std::span<const HashAlgorithm> banks) {
  std::vector<PcrBank> values;
  for (const HashAlgorithm bank : banks) {
    TRY(replay_into(values.emplace_back(bank, StartupLocality::kZero), events));
  }
  return values;
}

}  // namespace bulkhead
