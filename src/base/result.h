// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>
#include <utility>
#include <variant>

#include "base/check.h"

// Three kinds of error, never mixed:
//  1. the guest, a file or the network erred: answer as the protocol says, or refuse with an Error;
//  2. the host failed: return Result;
//  3. we erred: CHECK.
//
// Result has std::expected's interface plus and_then/transform. It is ours because g++ 12's has
// neither, and says nothing when a result is dropped.

namespace bulkhead {

enum class Errc : unsigned char {
  kInvalidArgument,  // the caller's (user's) request makes no sense
  kOutOfRange,       // address, offset or index outside of what exists
  kMalformed,        // foreign bytes break their format
  kTruncated,        // foreign bytes end too early
  kUnsupported,      // well-formed, but not something this build or host can do
  kNotFound,
  kExists,
  kExhausted,   // a limit of ours or of the host
  kPermission,  // the host refuses
  kBusy,
  kTimeout,
  kRolledBack,  // authentic, but older than what is known to have been there
  kClosed,      // the other side went away
  kIo,          // any other failure of a system call; see os_errno
};

// The standard short name of a code, for logs.
const char* to_string(Errc code);

// `what` is a string literal: an Error never allocates and is free to copy.
struct [[nodiscard]] Error {
  Errc code = Errc::kIo;
  int os_errno = 0;
  const char* what = "";
};

// An Error for a system call that has just failed: reads errno, and maps it to a code.
Error os_error(const char* what);
Error os_error(int error_number, const char* what);

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: by design
  Result(Error error) : state_(std::in_place_index<1>, error) {}         // NOLINT: by design

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  T& value() & { return *checked(); }
  const T& value() const& { return *const_cast<Result*>(this)->checked(); }
  T&& value() && { return std::move(*checked()); }
  T& operator*() & { return *checked(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*checked()); }
  T* operator->() { return checked(); }
  const T* operator->() const { return &value(); }

  Error error() const {
    const Error* error = std::get_if<1>(&state_);
    CHECK(error != nullptr);
    return *error;
  }

  template <class U>
  T value_or(U&& fallback) && {
    return has_value() ? std::move(*checked()) : static_cast<T>(std::forward<U>(fallback));
  }

  template <class F>
  auto and_then(F&& next) && -> std::invoke_result_t<F, T&&> {
    if (!has_value()) return error();
    return std::forward<F>(next)(std::move(*checked()));
  }

  template <class F>
  auto transform(F&& change) && -> Result<std::invoke_result_t<F, T&&>> {
    if (!has_value()) return error();
    return std::forward<F>(change)(std::move(*checked()));
  }

 private:
  T* checked() {
    T* value = std::get_if<0>(&state_);
    CHECK(value != nullptr);
    return value;
  }

  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  Result() = default;
  Result(Error error) : error_(error), failed_(true) {}  // NOLINT: by design

  bool has_value() const { return !failed_; }
  explicit operator bool() const { return has_value(); }
  void value() const { CHECK(!failed_); }

  Error error() const {
    CHECK(failed_);
    return error_;
  }

  template <class F>
  auto and_then(F&& next) const -> std::invoke_result_t<F> {
    if (failed_) return error_;
    return std::forward<F>(next)();
  }

 private:
  Error error_;
  bool failed_ = false;
};

}  // namespace bulkhead

// TRY(expression): the value of a Result, or return its Error from the enclosing function.
#define BULKHEAD_TRY_JOIN2(a, b) a##b
#define BULKHEAD_TRY_JOIN(a, b) BULKHEAD_TRY_JOIN2(a, b)
#define BULKHEAD_TRY(result, expression) \
  __extension__({                        \
    auto&& result = (expression);        \
    if (!result) [[unlikely]]            \
      return result.error();             \
    std::move(result).value();           \
  })
#define TRY(expression) BULKHEAD_TRY(BULKHEAD_TRY_JOIN(try_result_, __COUNTER__), expression)
