// SPDX-License-Identifier: Apache-2.0
// From a log to the PCR values that it explains.
#include <algorithm>

#include "measure/event_log.h"

namespace bulkhead {
namespace {

bool is_startup_locality(const LogEvent& event) {
  return event.type == EventType::kNoAction &&
         event.data.size() >= kStartupLocalitySignature.size() &&
         std::ranges::equal(std::span(event.data).first(kStartupLocalitySignature.size()),
                            std::as_bytes(std::span(kStartupLocalitySignature)));
}

// TCG_EfiStartupLocalityEvent: the signature and one byte, PFP §10.4.5.3.
Result<StartupLocality> locality_of(const LogEvent& event) {
  const bool one_byte = event.data.size() == kStartupLocalitySignature.size() + 1;
  if (one_byte && index_of(event.pcr) == 0) {
    const auto locality = static_cast<StartupLocality>(event.data.back());
    switch (locality) {
      case StartupLocality::kZero:
      case StartupLocality::kThree:
      case StartupLocality::kHcrtm:
        return locality;
    }
  }
  return Error{Errc::kMalformed, 0, "the log tells no locality that a TPM can be started from"};
}

// What the log says of PCR 0 up to one of its events.
struct Startup {
  StartupLocality locality = StartupLocality::kZero;
  bool told = false;
  bool extended = false;

  Result<void> add(const LogEvent& event);
  Result<void> add_hcrtm(const LogEvent& event) const;
};

// The value that PCR 0 starts from cannot become known after it was built upon, nor change.
Result<void> Startup::add(const LogEvent& event) {
  if (is_startup_locality(event)) {
    if (told || extended) {
      return Error{Errc::kMalformed, 0, "the log tells the startup locality late, or twice"};
    }
    locality = TRY(locality_of(event));
    told = true;
  }
  if (event.type == EventType::kEfiHcrtmEvent) TRY(add_hcrtm(event));
  if (event.type != EventType::kNoAction && index_of(event.pcr) == 0) extended = true;
  return {};
}

// PFP §10.4.5.3: what was hashed before TPM2_Startup is in PCR 0, before all else, and PCR 0 shows
// that there was such a thing.
Result<void> Startup::add_hcrtm(const LogEvent& event) const {
  if (index_of(event.pcr) != 0 || extended || locality != StartupLocality::kHcrtm) {
    return Error{Errc::kMalformed, 0, "the log has an H-CRTM event where there cannot be one"};
  }
  return {};
}

}  // namespace

LogEvent startup_locality_event(StartupLocality locality, std::span<const HashAlgorithm> banks) {
  LogEvent event{.pcr = Pcr{0}, .type = EventType::kNoAction, .digests = {}, .data = {}};
  for (const HashAlgorithm bank : banks) event.digests.emplace_back(bank);
  const auto signature = std::as_bytes(std::span(kStartupLocalitySignature));
  event.data.assign(signature.begin(), signature.end());
  event.data.push_back(static_cast<std::byte>(locality));
  return event;
}

Result<void> replay_into(PcrBank& bank, std::span<const LogEvent> events) {
  Hash hash = TRY(Hash::create(bank.algorithm()));
  for (const LogEvent& event : events) {
    if (event.type == EventType::kNoAction) continue;
    const Digest* digest = find_digest(event.digests, bank.algorithm());
    if (digest == nullptr) {
      return Error{Errc::kInvalidArgument, 0, "an event lacks the digest of a bank"};
    }
    TRY(bank.extend(event.pcr, *digest, hash));
  }
  return {};
}

Result<StartupLocality> EventLog::startup_locality() const {
  Startup startup;
  for (const LogEvent& event : events_) TRY(startup.add(event));
  return startup.locality;
}

bool EventLog::is_complete(HashAlgorithm algorithm) const {
  return std::ranges::all_of(events_, [algorithm](const LogEvent& event) {
    return event.type == EventType::kNoAction || find_digest(event.digests, algorithm) != nullptr;
  });
}

Result<std::vector<PcrBank>> EventLog::replay() const {
  return replay(algorithms_);
}

Result<std::vector<PcrBank>> EventLog::replay(std::span<const HashAlgorithm> wanted) const {
  const StartupLocality locality = TRY(startup_locality());
  std::vector<PcrBank> banks;
  bool any_complete = false;
  for (const HashAlgorithm algorithm : algorithms_) {
    if (!is_complete(algorithm)) continue;
    any_complete = true;
    if (std::ranges::find(wanted, algorithm) == wanted.end()) continue;
    TRY(replay_into(banks.emplace_back(algorithm, locality), events_));
  }
  if (!any_complete) return Error{Errc::kMalformed, 0, "the log has no bank that is complete"};
  return banks;
}

}  // namespace bulkhead
