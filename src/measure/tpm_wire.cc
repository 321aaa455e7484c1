// SPDX-License-Identifier: Apache-2.0
#include "measure/tpm_wire.h"

namespace bulkhead {

Result<std::span<const std::byte>> read_2b(ByteReader& reader, std::size_t max_bytes) {
  const auto size = TRY(reader.read_be<std::uint16_t>());
  if (size > max_bytes) return Error{Errc::kMalformed, 0, "a sized buffer is too large"};
  return reader.take(size);
}

Result<TpmAlg> read_algorithm(ByteReader& reader) {
  return TpmAlg(TRY(reader.read_be<std::uint16_t>()));
}

Result<void> expect_end(const ByteReader& reader) {
  if (reader.empty()) return {};
  return Error{Errc::kMalformed, 0, "bytes are left over behind a structure's end"};
}

}  // namespace bulkhead
