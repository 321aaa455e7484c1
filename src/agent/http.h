// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "agent/tls_connection.h"

namespace bulkhead::agent {

inline constexpr std::size_t kMaxHeadBytes = 16 * 1024;
inline constexpr std::size_t kMaxHeaders = 64;
inline constexpr std::size_t kMaxBodyBytes = 256 * 1024;

// What stands before the body of an answer.
struct HttpHead {
  unsigned status = 0;
  std::size_t body_bytes = 0;
  std::string session;                      // "kbs-session-id=..." of Set-Cookie; may be empty
  std::optional<unsigned> retry_after_s{};  // if it is a number of seconds
};

// From the status line to the empty line, both included. HTTP/1.1 with a Content-Length and no
// other way to tell where a body ends (RFC 9112, 6): two of them can disagree.
Result<HttpHead> parse_http_head(std::string_view text);

struct HttpAnswer {
  HttpHead head;
  std::string body;
};

// Sends the request, and receives its answer and nothing beyond it.
Result<HttpAnswer> ask_http(TlsConnection& connection, std::string_view request,
                            const Deadline& deadline);

}  // namespace bulkhead::agent
