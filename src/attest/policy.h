// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "attest/claims.h"
#include "attest/quote_verifier.h"
#include "attest/report.h"

namespace bulkhead {

// What must hold before a secret is released. docs/formats/policy.md says the same in TOML.
struct Rules {
  bool allow_debug = false;
  bool allow_file_counter = false;         // a TPM's state whose newest version only a file tells
  Isolation isolation = Isolation::kNone;  // at least; kNone: nobody said, and nothing is enough
  PerComponent<std::optional<Version>> minimum_versions;
  std::vector<Sha256Digest> hosts;  // one of these; empty: any
  std::uint64_t max_quote_age_s = 300;
  std::vector<QuoteAlgorithm> algorithms;    // one of these; empty: quote_algorithms()
  std::vector<std::string> references;       // one of these, whole
  std::map<PcrId, std::vector<Bytes>> pcrs;  // and of each of these one value
};

// Which PCR values which image gives.
using References = std::map<std::string, PcrValues, std::less<>>;

struct Policy {
  Rules general;
  std::map<std::string, Rules, std::less<>> secrets;
  References references;  // every name that a Rules mentions is here

  // The rules of a secret, or the general ones without a name; null for a secret without a section.
  const Rules* rules_for(std::optional<std::string_view> secret) const;

  // What a quote must select so that the rules can be judged.
  PcrSelections required_pcrs(const Rules& rules) const;
};

// Judges the claims by the rules of that secret, or by the general ones without a name.
Report evaluate(const Policy& policy, std::optional<std::string_view> secret, const Claims& claims,
                const CheckSwitches& switches = {});

}  // namespace bulkhead
