// SPDX-License-Identifier: Apache-2.0
#include "measure/event_log_writer.h"

#include <algorithm>
#include <limits>

#include "base/byte_reader.h"

namespace bulkhead {
namespace {

// Bytes of one event, before it is known whether they fit.
class EventBytes {
 public:
  template <std::unsigned_integral T>
  EventBytes& add(T value) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + sizeof value);
    put_le(std::span(bytes_), at, value);
    return *this;
  }
  EventBytes& add(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  EventBytes& add(EventType type) { return add(static_cast<std::uint32_t>(type)); }
  EventBytes& add(Pcr pcr) { return add(std::uint32_t{index_of(pcr)}); }
  EventBytes& add(HashAlgorithm algorithm) {
    return add(static_cast<std::uint16_t>(to_tpm(algorithm)));
  }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

// The banks of our TPM. Nothing of ours may rest on SHA-1.
bool may_write(HashAlgorithm algorithm) {
  return algorithm == HashAlgorithm::kSha256 || algorithm == HashAlgorithm::kSha384;
}

// TCG_EfiSpecIDEvent, PFP §10.4.5.1.
EventBytes spec_id(std::span<const HashAlgorithm> banks) {
  EventBytes event;
  event.add(std::as_bytes(std::span(kSpecIdSignature)));
  event
      .add(std::uint32_t{0})   // platformClass: client
      .add(std::uint8_t{0})    // specVersionMinor
      .add(std::uint8_t{2})    // specVersionMajor
      .add(std::uint8_t{105})  // specErrata: revision 1.05
      .add(std::uint8_t{2})    // uintnSize: 64 bits
      .add(static_cast<std::uint32_t>(banks.size()));
  for (const HashAlgorithm bank : banks) {
    event.add(bank).add(static_cast<std::uint16_t>(digest_bytes(bank)));
  }
  event.add(std::uint8_t{0});  // vendorInfoSize
  return event;
}

}  // namespace

Result<EventLogWriter> EventLogWriter::create(const Options& options) {
  const bool twice = options.banks.size() == 2 && options.banks[0] == options.banks[1];
  if (options.banks.empty() || options.banks.size() > 2 || twice ||
      !std::ranges::all_of(options.banks, may_write)) {
    return Error{Errc::kInvalidArgument, 0, "a log is written for SHA-256 and SHA-384 only"};
  }
  EventLogWriter writer(options);
  TRY(writer.write_header());
  return writer;
}

Result<void> EventLogWriter::write_header() {
  const EventBytes data = spec_id(banks_);
  EventBytes event;
  event.add(Pcr{0})
      .add(EventType::kNoAction)
      .add(Digest(HashAlgorithm::kSha1).bytes())
      .add(static_cast<std::uint32_t>(data.bytes().size()))
      .add(data.bytes());
  return add(event.bytes());
}

Result<void> EventLogWriter::append(const LogEvent& event) {
  if (index_of(event.pcr) >= kPcrCount ||
      !std::ranges::equal(event.digests, banks_, {}, &Digest::algorithm) ||
      event.data.size() > std::numeric_limits<std::uint32_t>::max()) {
    return Error{Errc::kInvalidArgument, 0, "an event does not fit the log's PCRs and banks"};
  }
  EventBytes bytes;
  bytes.add(event.pcr).add(event.type).add(static_cast<std::uint32_t>(event.digests.size()));
  for (const Digest& digest : event.digests) bytes.add(digest.algorithm()).add(digest.bytes());
  bytes.add(static_cast<std::uint32_t>(event.data.size())).add(event.data);
  return add(bytes.bytes());
}

Result<void> EventLogWriter::add(std::span<const std::byte> bytes) {
  const std::size_t left = area_.size() - used_;
  if (left < kEndBytes || bytes.size() > left - kEndBytes) {
    return Error{Errc::kExhausted, 0, "the event log is full"};
  }
  std::ranges::copy(bytes, area_.begin() + static_cast<std::ptrdiff_t>(used_));
  used_ += bytes.size();
  return {};
}

}  // namespace bulkhead
