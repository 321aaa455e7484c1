// SPDX-License-Identifier: Apache-2.0
// The files of an enrolment, certificates, and what a daemon sends: what is taken is what would be
// written again.
#include <cstdint>
#include <span>
#include <string_view>

#include "base/check.h"
#include "hostca/certificate.h"
#include "hostca/enrolment.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bulkhead;
  using namespace bulkhead::hostca;
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  const std::string_view text(static_cast<const char*>(static_cast<const void*>(bytes.data())),
                              bytes.size());
  switch (data[0] % 5) {
    case 0:
      if (const auto request = parse_host_request(text)) CHECK(serialize(*request) == text);
      break;
    case 1:
      if (const auto grant = parse_host_grant(text)) {
        CHECK(serialize(*grant) == text);
        static_cast<void>(open_grant(*grant, Bytes(32)));
      }
      break;
    case 2:
      static_cast<void>(read_certificate(bytes));
      static_cast<void>(is_issued_by(bytes, bytes));
      break;
    case 3:
      if (const auto chain = read_pem(text)) CHECK(read_pem(to_pem(*chain)).value() == *chain);
      break;
    default:
      if (const auto identity = parse_host_identity(bytes)) {
        CHECK(serialize(*identity) == copy_of(bytes));
      }
  }
  return 0;
}
