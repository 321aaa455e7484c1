// SPDX-License-Identifier: Apache-2.0
// bulkhead-grant: shares a page with a message, until a line is typed. For root of a guest.

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include "grant/grant_client.h"
#include "grant/pinned_page.h"

namespace bulkhead::guest {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

struct Request {
  GranteeId grantee = GranteeId::kHostTools;
  bool write = false;
  std::string_view message;
};

std::optional<Request> parse(std::span<char*> words) {
  Request request;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    if (word == "--write") {
      request.write = true;
    } else if (word == "--grantee" && i + 1 < words.size()) {
      const std::string_view number = words[++i];
      std::uint32_t value = 0;
      const auto [end, error] = std::from_chars(number.begin(), number.end(), value);
      if (error != std::errc() || end != number.end()) return std::nullopt;
      request.grantee = GranteeId{value};
    } else if (request.message.empty() && !word.empty() && !word.starts_with("--")) {
      request.message = word;
    } else {
      return std::nullopt;
    }
  }
  if (request.message.empty() || request.message.size() > kPageSize) return std::nullopt;
  return request;
}

// A page that is granted must not be freed, so the signals that end a program only end its waiting.
void catch_signals() {
  struct sigaction action{};
  action.sa_handler = [](int) {};
  for (const int number : {SIGHUP, SIGINT, SIGTERM}) sigaction(number, &action, nullptr);
}

void wait_for_line() {
  char byte = 0;
  while (::read(STDIN_FILENO, &byte, 1) == 1 && byte != '\n') {
  }
}

Result<void> share(const Request& request) {
  GrantClient client = TRY(GrantClient::open());
  const PinnedPage page = TRY(PinnedPage::create());
  catch_signals();
  std::memcpy(page.bytes().data(), request.message.data(), request.message.size());
  const GrantHandle handle = TRY(client.grant({.first = page.gfn(),
                                               .pages = 1,
                                               .grantee = request.grantee,
                                               .rights = {.read = true, .write = request.write}}));
  std::printf("gfn=%llu\nhandle=%u\n", static_cast<unsigned long long>(page.gfn().value()),
              static_cast<unsigned>(handle));
  std::fflush(stdout);
  wait_for_line();
  TRY(client.revoke(handle));
  std::printf("revoked=%u\n", static_cast<unsigned>(handle));
  return {};
}

}  // namespace
}  // namespace bulkhead::guest

int main(int count, char** words) {
  using namespace bulkhead::guest;
  const auto request = parse(std::span(words, static_cast<std::size_t>(count)).subspan(1));
  if (!request) {
    std::fputs(
        "Usage: bulkhead-grant [--grantee NUMBER] [--write] MESSAGE\n"
        "Shares a page that holds MESSAGE (at most 4096 bytes) with the host's tools, or with\n"
        "the partition NUMBER, until a line is typed or standard input ends.\n",
        stderr);
    return kExitUsage;
  }
  if (const auto done = share(*request); !done) {
    const bulkhead::Error error = done.error();
    std::fprintf(stderr, "bulkhead-grant: %s%s%s\n", error.what, error.os_errno != 0 ? ": " : "",
                 error.os_errno != 0 ? std::strerror(error.os_errno) : "");
    return kExitFailed;
  }
  return 0;
}
