// SPDX-License-Identifier: Apache-2.0
#include "agent/http.h"

#include <gtest/gtest.h>

namespace bulkhead::agent {
namespace {

constexpr const char* kStatus = "HTTP/1.1 200 OK\r\n";
constexpr const char* kLength = "Content-Length: 5\r\n";

std::string head_with(const std::string& headers) {
  return kStatus + headers + "\r\n";
}

TEST(HttpHead, TellsStatusLengthSessionAndPatience) {
  const auto head = parse_http_head(
      "HTTP/1.1 503 Service Unavailable\r\nDate: today\r\ncontent-length:  42 \r\n"
      "Set-Cookie: other=1; Path=/\r\n"
      "Set-Cookie: kbs-session-id=0123456789abcdef; Path=/kbs/v0; Secure\r\nRetry-After: "
      "7\r\n\r\n");
  ASSERT_TRUE(head) << head.error().what;
  EXPECT_EQ(head->status, 503u);
  EXPECT_EQ(head->body_bytes, 42u);
  EXPECT_EQ(head->session, "kbs-session-id=0123456789abcdef");
  EXPECT_EQ(head->retry_after_s, 7u);
  const auto least = parse_http_head("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(least);
  EXPECT_EQ(least->body_bytes, 0u);
  EXPECT_EQ(least->session, "");
  EXPECT_FALSE(least->retry_after_s);
  const auto date =
      parse_http_head(head_with(std::string(kLength) + "Retry-After: Fri, 31 Dec\r\n"));
  ASSERT_TRUE(date);
  EXPECT_FALSE(date->retry_after_s);
}

TEST(HttpHead, EveryTruncationIsRefused) {
  const std::string whole = head_with(std::string(kLength) + "Set-Cookie: kbs-session-id=a\r\n");
  ASSERT_TRUE(parse_http_head(whole));
  for (std::size_t i = 0; i < whole.size(); ++i) {
    EXPECT_FALSE(parse_http_head(std::string_view(whole).substr(0, i))) << i;
  }
  EXPECT_FALSE(parse_http_head(whole + "x"));
}

TEST(HttpHead, StatusLinesHaveOneForm) {
  for (const char* line : {"", "HTTP/1.0 200 OK", "HTTP/2 200", "HTTP/1.1  200", "HTTP/1.1 20",
                           "HTTP/1.1 2000", "HTTP/1.1 100 Continue", "HTTP/1.1 600 x",
                           "HTTP/1.1 +20 x", "HTTP/1.1 200\t", "200 OK", "HTTP/1.1 200 O\x01K"}) {
    EXPECT_FALSE(parse_http_head(std::string(line) + "\r\n" + kLength + "\r\n")) << line;
  }
}

// What two readers could take for different lengths, or headers, is refused.
TEST(HttpHead, NothingIsAmbiguous) {
  ASSERT_TRUE(parse_http_head(head_with(kLength)));
  for (const std::string& headers :
       {std::string(),
        std::string(kLength) + kLength,
        std::string("Content-Length: +5\r\n"),
        std::string("Content-Length: 5,5\r\n"),
        std::string("Content-Length: 0x5\r\n"),
        std::string("Content-Length:\r\n"),
        std::string("Content-Length: 99999999999\r\n"),
        std::string("Content-Length : 5\r\n"),
        std::string(" Content-Length: 5\r\n"),
        std::string(kLength) + "Transfer-Encoding: chunked\r\n",
        std::string(kLength) + "transfer-encoding: identity\r\n",
        std::string(kLength) + ": x\r\n",
        std::string(kLength) + "folded: x\r\n y\r\n",
        std::string(kLength) + "no colon\r\n",
        std::string(kLength) + "X: a\nY: b\r\n",
        std::string(kLength) + "X: \x7f\r\n",
        std::string(kLength) + "Set-Cookie: kbs-session-id=a\r\nSet-Cookie: kbs-session-id=b\r\n",
        std::string(kLength) + "Set-Cookie: kbs-session-id=\r\n",
        std::string(kLength) + "Set-Cookie: kbs-session-id=a b\r\n",
        std::string(kLength) + "Set-Cookie: kbs-session-id=" + std::string(257, 'a') + "\r\n"}) {
    EXPECT_FALSE(parse_http_head(head_with(headers))) << headers;
  }
}

TEST(HttpHead, IsBounded) {
  std::string many = kLength;
  for (std::size_t i = 1; i < kMaxHeaders; ++i) many += "X: y\r\n";
  EXPECT_TRUE(parse_http_head(head_with(many)));
  EXPECT_FALSE(parse_http_head(head_with(many + "X: y\r\n")));
  const std::string most = std::to_string(kMaxBodyBytes);
  EXPECT_TRUE(parse_http_head(head_with("Content-Length: " + most + "\r\n")));
  const std::string more = std::to_string(kMaxBodyBytes + 1);
  EXPECT_EQ(parse_http_head(head_with("Content-Length: " + more + "\r\n")).error().code,
            Errc::kExhausted);
}

}  // namespace
}  // namespace bulkhead::agent
