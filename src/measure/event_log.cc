// SPDX-License-Identifier: Apache-2.0
#include "measure/event_log.h"

#include <algorithm>

#include "base/byte_reader.h"

namespace bulkhead {
namespace {

constexpr std::size_t kSha1Bytes = digest_bytes(HashAlgorithm::kSha1);

Error malformed(const char* what) {
  return Error{Errc::kMalformed, 0, what};
}

bool starts_with(std::span<const std::byte> data, std::string_view signature) {
  return data.size() >= signature.size() &&
         std::ranges::equal(data.first(signature.size()), std::as_bytes(std::span(signature)));
}

}  // namespace

// One reading of one log. Each event takes at least its fixed fields from the reader, so that the
// length of the log bounds the loop.
class EventLog::Parser {
 public:
  explicit Parser(std::span<const std::byte> bytes) : reader_(bytes) {}

  Result<EventLog> parse();

 private:
  // TPMT_HA's algorithm and its length, as the header declares them.
  struct Algorithm {
    TpmAlg id{};
    std::size_t size_bytes = 0;
  };

  Result<LogEvent> sha1_event();
  Result<LogEvent> agile_event();
  Result<void> digest(std::vector<TpmAlg>& seen, DigestSet& digests);
  Result<std::vector<std::byte>> data();

  Result<void> header(const LogEvent& event);
  Result<void> header_version(ByteReader& fields);
  Result<void> header_algorithms(ByteReader& fields);
  Result<Algorithm> header_algorithm(ByteReader& fields);
  const Algorithm* find(TpmAlg id) const;

  ByteReader reader_;
  std::vector<Algorithm> declared_;
  EventLog log_;
};

Result<EventLog> EventLog::Parser::parse() {
  LogEvent first = TRY(sha1_event());
  if (first.type == EventType::kNoAction && starts_with(first.data, kSpecIdSignature)) {
    log_.format_ = Format::kCryptoAgile;
    TRY(header(first));
  } else {
    log_.algorithms_ = {HashAlgorithm::kSha1};
    log_.events_.push_back(std::move(first));
  }
  while (!reader_.empty()) {
    log_.events_.push_back(
        TRY(log_.format_ == Format::kCryptoAgile ? agile_event() : sha1_event()));
  }
  return std::move(log_);
}

// TCG_PCClientPCREvent: PFP §10.2.1.
Result<LogEvent> EventLog::Parser::sha1_event() {
  LogEvent event;
  event.pcr = TRY(to_pcr(TRY(reader_.read<std::uint32_t>())));
  event.type = static_cast<EventType>(TRY(reader_.read<std::uint32_t>()));
  event.digests = {TRY(Digest::of_bytes(HashAlgorithm::kSha1, TRY(reader_.take(kSha1Bytes))))};
  event.data = TRY(data());
  return event;
}

// TCG_PCR_EVENT2: PFP §10.2.2.
Result<LogEvent> EventLog::Parser::agile_event() {
  LogEvent event;
  event.pcr = TRY(to_pcr(TRY(reader_.read<std::uint32_t>())));
  event.type = static_cast<EventType>(TRY(reader_.read<std::uint32_t>()));
  const auto count = TRY(reader_.read<std::uint32_t>());
  if (count == 0 || count > declared_.size()) {
    return malformed("an event has no digests, or more than the log has algorithms");
  }
  std::vector<TpmAlg> seen;
  seen.reserve(count);
  event.digests.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) TRY(digest(seen, event.digests));
  event.data = TRY(data());
  return event;
}

Result<void> EventLog::Parser::digest(std::vector<TpmAlg>& seen, DigestSet& digests) {
  const auto id = static_cast<TpmAlg>(TRY(reader_.read<std::uint16_t>()));
  const Algorithm* algorithm = find(id);
  if (algorithm == nullptr) {
    return malformed("a digest is of an algorithm that the log's header does not name");
  }
  if (std::ranges::find(seen, id) != seen.end()) {
    return malformed("an event has two digests of one algorithm");
  }
  seen.push_back(id);
  const auto bytes = TRY(reader_.take(algorithm->size_bytes));
  if (const auto known = from_tpm(id)) digests.push_back(TRY(Digest::of_bytes(*known, bytes)));
  return {};
}

Result<std::vector<std::byte>> EventLog::Parser::data() {
  const auto size = TRY(reader_.read<std::uint32_t>());
  const auto bytes = TRY(reader_.take(size));
  return std::vector<std::byte>(bytes.begin(), bytes.end());
}

// TCG_EfiSpecIDEvent: PFP §10.4.5.1.
Result<void> EventLog::Parser::header(const LogEvent& event) {
  if (index_of(event.pcr) != 0 || event.digests[0] != Digest(HashAlgorithm::kSha1)) {
    return malformed("the log's header is not for PCR 0, or has a digest");
  }
  ByteReader fields(event.data);
  TRY(fields.skip(kSpecIdSignature.size()));
  TRY(header_version(fields));
  TRY(header_algorithms(fields));
  const auto vendor_bytes = TRY(fields.read<std::uint8_t>());
  TRY(fields.skip(vendor_bytes));
  if (!fields.empty()) return malformed("the log's header is longer than its fields");
  return {};
}

Result<void> EventLog::Parser::header_version(ByteReader& fields) {
  TRY(fields.read<std::uint32_t>());  // platformClass: client, or server
  TRY(fields.read<std::uint8_t>());   // specVersionMinor
  const auto major = TRY(fields.read<std::uint8_t>());
  TRY(fields.skip(2));  // specErrata; uintnSize, which only firmware's own structures depend on
  if (major != 2) return Error{Errc::kUnsupported, 0, "the log is of an unknown version"};
  return {};
}

Result<void> EventLog::Parser::header_algorithms(ByteReader& fields) {
  const auto count = TRY(fields.read<std::uint32_t>());
  if (count == 0 || count > kMaxLogAlgorithms) {
    return malformed("the log's header names no algorithms, or too many");
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    const Algorithm algorithm = TRY(header_algorithm(fields));
    declared_.push_back(algorithm);
    if (const auto known = from_tpm(algorithm.id)) log_.algorithms_.push_back(*known);
  }
  return {};
}

Result<EventLog::Parser::Algorithm> EventLog::Parser::header_algorithm(ByteReader& fields) {
  const auto id = static_cast<TpmAlg>(TRY(fields.read<std::uint16_t>()));
  const auto size = TRY(fields.read<std::uint16_t>());
  const auto known = from_tpm(id);
  if (size == 0 || size > kMaxDigestBytes || (known && size != digest_bytes(*known))) {
    return malformed("the log's header gives an algorithm a wrong length");
  }
  if (find(id) != nullptr) return malformed("the log's header names an algorithm twice");
  return Algorithm{id, size};
}

const EventLog::Parser::Algorithm* EventLog::Parser::find(TpmAlg id) const {
  const auto found = std::ranges::find(declared_, id, &Algorithm::id);
  return found == declared_.end() ? nullptr : &*found;
}

Result<EventLog> EventLog::parse(std::span<const std::byte> bytes) {
  if (bytes.empty()) return Error{Errc::kTruncated, 0, "the event log is empty"};
  if (bytes.size() > kMaxEventLogBytes) {
    return Error{Errc::kUnsupported, 0, "the event log is larger than 1 MiB"};
  }
  return Parser(bytes).parse();
}

}  // namespace bulkhead
