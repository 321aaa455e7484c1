// SPDX-License-Identifier: Apache-2.0
#include "agent/http.h"

#include <strings.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace bulkhead::agent {
namespace {

constexpr std::string_view kLineEnd = "\r\n";
constexpr std::string_view kHeadEnd = "\r\n\r\n";
constexpr std::string_view kSessionPrefix = "kbs-session-id=";
constexpr std::size_t kMaxSessionBytes = 256;

Error malformed() {
  return Error{Errc::kMalformed, 0, "the broker's answer is no HTTP/1.1 with a length"};
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_alphanumeric(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
// RFC 9110, 5.6.2.
bool is_token_char(char c) {
  return is_alphanumeric(c) || std::string_view("!#$%&'*+-.^_`|~").contains(c);
}
bool is_text_char(char c) {
  return (c >= ' ' && c <= '~') || c == '\t';
}

std::string_view trimmed(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

bool is_called(std::string_view name, std::string_view wanted) {
  return name.size() == wanted.size() &&
         ::strncasecmp(name.data(), wanted.data(), name.size()) == 0;
}

// A line without its end, which must be there.
Result<std::string_view> take_line(std::string_view& rest) {
  const std::size_t end = rest.find(kLineEnd);
  if (end == std::string_view::npos) return malformed();
  const std::string_view line = rest.substr(0, end);
  if (!std::ranges::all_of(line, is_text_char)) return malformed();
  rest.remove_prefix(end + kLineEnd.size());
  return line;
}

// Digits and nothing else.
std::optional<std::size_t> number_in(std::string_view text) {
  constexpr std::size_t kMaxDigits = 9;
  std::size_t number = 0;
  if (text.empty() || text.size() > kMaxDigits || !std::ranges::all_of(text, is_digit)) {
    return std::nullopt;
  }
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

Result<unsigned> parse_status(std::string_view line) {
  constexpr std::string_view kVersion = "HTTP/1.1 ";
  constexpr std::size_t kDigits = 3;
  if (!line.starts_with(kVersion)) return malformed();
  line.remove_prefix(kVersion.size());
  const auto status = number_in(line.substr(0, kDigits));
  const bool ends = line.size() == kDigits || (line.size() > kDigits && line[kDigits] == ' ');
  // An answer that only announces another one was not asked for.
  if (!status || !ends || *status < 200 || *status > 599) return malformed();
  return static_cast<unsigned>(*status);
}

// The cookie itself, without its attributes; empty if it is another one.
Result<std::string> session_in(std::string_view cookie) {
  if (!cookie.starts_with(kSessionPrefix)) return std::string();
  cookie = trimmed(cookie.substr(0, cookie.find(';')));
  const std::string_view value = cookie.substr(kSessionPrefix.size());
  const auto is_good = [](char c) { return is_alphanumeric(c) || c == '-' || c == '_'; };
  if (value.empty() || value.size() > kMaxSessionBytes || !std::ranges::all_of(value, is_good)) {
    return malformed();
  }
  return std::string(cookie);
}

// The head while it is read.
struct Reading {
  HttpHead head;
  std::optional<std::size_t> length;
};

Result<void> read_length(Reading& reading, std::string_view value) {
  const auto length = number_in(value);
  if (!length || reading.length) return malformed();
  if (*length > kMaxBodyBytes) {
    return Error{Errc::kExhausted, 0, "the broker's answer is longer than 256 KiB"};
  }
  reading.length = length;
  return {};
}

Result<void> read_header(Reading& reading, std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return malformed();
  const std::string_view name = line.substr(0, colon);
  if (!std::ranges::all_of(name, is_token_char)) return malformed();
  const std::string_view value = trimmed(line.substr(colon + 1));
  if (is_called(name, "Transfer-Encoding")) return malformed();
  if (is_called(name, "Content-Length")) return read_length(reading, value);
  if (is_called(name, "Retry-After")) {
    if (const auto seconds = number_in(value)) {
      reading.head.retry_after_s = static_cast<unsigned>(*seconds);
    }
  } else if (is_called(name, "Set-Cookie")) {
    std::string session = TRY(session_in(value));
    if (!session.empty() && !reading.head.session.empty()) return malformed();
    if (!session.empty()) reading.head.session = std::move(session);
  }
  return {};
}

Result<void> read_more(TlsConnection& connection, std::string& text, const Deadline& deadline) {
  std::array<std::byte, 4096> buffer;
  const auto got = connection.read(buffer, deadline);
  if (got) {
    text.append(static_cast<const char*>(static_cast<const void*>(buffer.data())), *got);
    return {};
  }
  if (got.error().code != Errc::kClosed || text.empty()) return got.error();
  return Error{Errc::kClosed, 0, "the broker closed the connection in the middle of an answer"};
}

// Until the whole head is there; its length.
Result<std::size_t> read_head(TlsConnection& connection, std::string& text,
                              const Deadline& deadline) {
  while (true) {
    const std::size_t end = text.find(kHeadEnd);
    if (end != std::string::npos && end <= kMaxHeadBytes) return end + kHeadEnd.size();
    if (text.size() > kMaxHeadBytes) {
      return Error{Errc::kExhausted, 0, "the head of the broker's answer is longer than 16 KiB"};
    }
    TRY(read_more(connection, text, deadline));
  }
}

}  // namespace

Result<HttpHead> parse_http_head(std::string_view text) {
  Reading reading;
  reading.head.status = TRY(parse_status(TRY(take_line(text))));
  std::size_t headers = 0;
  while (true) {
    const std::string_view line = TRY(take_line(text));
    if (line.empty()) break;
    if (++headers > kMaxHeaders) return malformed();
    TRY(read_header(reading, line));
  }
  if (!text.empty() || !reading.length) return malformed();
  reading.head.body_bytes = *reading.length;
  return std::move(reading.head);
}

Result<HttpAnswer> ask_http(TlsConnection& connection, std::string_view request,
                            const Deadline& deadline) {
  TRY(connection.write(std::as_bytes(std::span(request)), deadline));
  std::string text;
  const std::size_t head_bytes = TRY(read_head(connection, text, deadline));
  HttpHead head = TRY(parse_http_head(std::string_view(text).substr(0, head_bytes)));
  const std::size_t whole = head_bytes + head.body_bytes;
  while (text.size() < whole) TRY(read_more(connection, text, deadline));
  if (text.size() > whole) {
    return Error{Errc::kMalformed, 0, "the broker sends more than it was asked for"};
  }
  return HttpAnswer{std::move(head), text.substr(head_bytes)};
}

}  // namespace bulkhead::agent
