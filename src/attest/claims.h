// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/isolation.h"
#include "crypto/digest.h"
#include "measure/measured_text.h"
#include "measure/pcr_values.h"

namespace bulkhead {

// "1.2.3", the last two parts zero if left out.
struct Version {
  std::uint16_t major_number = 0;
  std::uint16_t minor_number = 0;
  std::uint16_t patch_number = 0;

  auto operator<=>(const Version&) const = default;
};

std::optional<Version> parse_version(std::string_view text);
std::string to_string(Version version);

// What has a version of its own.
enum class Component : std::uint8_t { kMonitor, kVtpm, kImage };
inline constexpr std::array kComponents = {Component::kMonitor, Component::kVtpm,
                                           Component::kImage};
const char* to_string(Component component);

// Something of each component.
template <class T>
class PerComponent {
 public:
  T& operator[](Component component) { return values_[static_cast<std::size_t>(component)]; }
  const T& operator[](Component component) const {
    return values_[static_cast<std::size_t>(component)];
  }
  bool operator==(const PerComponent&) const = default;

 private:
  std::array<T, kComponents.size()> values_;
};

// What is known about a partition once its evidence was verified, however that was packed. What is
// left out counts as the worst.
struct Claims {
  PcrValues pcrs;  // those that a good quote vouches for, no others
  Isolation isolation = Isolation::kNone;
  PerComponent<std::optional<Version>> versions;
  bool debug = true;  // the monitor lets itself be debugged
  TpmState tpm_state = TpmState::kFileCounter;
  // SHA-256 of the public endorsement key of the host's TPM, or of its software key without one.
  std::optional<Sha256Digest> host;
  std::optional<std::uint64_t> quote_age_s;
  // The relying party itself cannot say when it asked, and has been told what that means: then the
  // quote's age is not judged. Nothing that comes from the partition sets this.
  bool age_is_open = false;
};

}  // namespace bulkhead
