// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <stdexcept>
#include <string>

#include "base/result.h"

namespace bulkhead::agent {

inline constexpr int kExitRefused = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNotAsked = 3;
inline constexpr int kExitNotHandedOver = 4;

// Ends the program with this status.
class Failed : public std::runtime_error {
 public:
  Failed(int exit_status, const std::string& text)
      : std::runtime_error(text), status(exit_status) {}
  const int status;
};

// A value, or Failed with a text that begins with the subject.
template <class T>
T value_of(Result<T> result, int status, const std::string& subject) {
  if (result) return std::move(result).value();
  const Error error = result.error();
  std::string text = subject + ": " + error.what;
  if (error.os_errno != 0) text += std::string(": ") + ::strerrordesc_np(error.os_errno);
  throw Failed(status, text);
}

}  // namespace bulkhead::agent
