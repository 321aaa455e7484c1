// SPDX-License-Identifier: Apache-2.0
#include "hostca/fields.h"

#include <charconv>

#include "crypto/digest.h"

namespace bulkhead::hostca {
namespace {

Error malformed() {
  return Error{Errc::kMalformed, 0, "the file is not of the kind that is expected, or damaged"};
}

}  // namespace

FieldWriter& FieldWriter::text(std::string_view key, std::string_view value) {
  out_.append(key).append("=").append(value).append("\n");
  return *this;
}

FieldWriter& FieldWriter::bytes(std::string_view key, std::span<const std::byte> value) {
  return text(key, to_hex(value));
}

Result<std::string_view> FieldReader::text(std::string_view key) {
  const std::size_t end = rest_.find('\n');
  const std::string_view line = rest_.substr(0, end);
  if (end == std::string_view::npos || !line.starts_with(key)) return malformed();
  if (line.size() <= key.size() || line[key.size()] != '=') return malformed();
  rest_.remove_prefix(end + 1);
  return line.substr(key.size() + 1);
}

Result<Bytes> FieldReader::bytes(std::string_view key, std::size_t max_bytes) {
  const std::string_view digits = TRY(text(key));
  if (digits.size() > 2 * max_bytes) return malformed();
  Bytes value = TRY(decode_hex(digits));
  if (to_hex(value) != digits) return malformed();  // lower case: a value has one form
  return value;
}

Result<std::size_t> FieldReader::count(std::string_view key, std::size_t max) {
  const std::string_view digits = TRY(text(key));
  std::size_t value = 0;
  const auto [end, failure] = std::from_chars(digits.begin(), digits.end(), value);
  if (failure != std::errc() || end != digits.end() || value > max) return malformed();
  if (std::to_string(value) != digits) return malformed();
  return value;
}

Result<void> FieldReader::end() const {
  if (rest_.empty()) return {};
  return malformed();
}

}  // namespace bulkhead::hostca
