// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "measure/tpm_wire.h"

// The files of an enrolment (docs/formats/enrolment.md): lines of key=value in a fixed order.

namespace bulkhead::hostca {

class FieldWriter {
 public:
  FieldWriter& text(std::string_view key, std::string_view value);
  FieldWriter& bytes(std::string_view key, std::span<const std::byte> value);  // hexadecimal

  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

// Takes the lines one after the other; each has to have the key that is due.
class FieldReader {
 public:
  explicit FieldReader(std::string_view text) : rest_(text) {}

  Result<std::string_view> text(std::string_view key);
  Result<Bytes> bytes(std::string_view key, std::size_t max_bytes);
  Result<std::size_t> count(std::string_view key, std::size_t max);
  Result<void> end() const;

 private:
  std::string_view rest_;
};

}  // namespace bulkhead::hostca
