// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/address.h"
#include "agent/evidence_source.h"
#include "agent/tls_connection.h"
#include "crypto/secret_bytes.h"

namespace bulkhead::agent {

// What is asked of whom.
struct Request {
  BrokerAddress address;
  ServerIdentity server;
  std::string tenant;  // empty: the broker has one only
  std::string secret;  // "repository/type/tag"
  std::chrono::milliseconds timeout{120'000};
};

// How it ended.
struct Outcome {
  enum class Kind : std::uint8_t {
    kReleased,
    kRefused,   // by the broker or its policy: it would say the same again
    kNotAsked,  // there was no answer in time, or none that could be believed, or nothing to show
  };

  Kind kind = Kind::kNotAsked;
  std::optional<SecretBytes> secret = {};  // if released
  std::string text = {};                   // why not, printable
  std::vector<std::string> reasons = {};   // every check that failed
};

// Told before each wait: what failed, and how long the wait is.
using OnRetry = std::function<void(const std::string&, std::chrono::milliseconds)>;

// Attests, and gets the secret. What may pass (a network that is not up, a broker that starts or is
// busy) is tried again until the time is up; a refusal is not. Throws nothing.
Outcome obtain(const Request& request, EvidenceSource& source, const OnRetry& on_retry);

}  // namespace bulkhead::agent
