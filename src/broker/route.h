// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bulkhead::broker {

enum class Endpoint : std::uint8_t { kAuth, kAttest, kResource };

const char* to_string(Endpoint endpoint);

// What a path asks for: [/tenant/NAME]/kbs/v0/{auth,attest,resource/REPOSITORY/TYPE/TAG}
struct Route {
  std::string tenant;  // empty: the path names none
  Endpoint endpoint = Endpoint::kAuth;
  std::string resource;  // "repository/type/tag"
};

// What the paths of this tenant begin with, as this path names it: "/tenant/NAME/kbs/v0"
std::string prefix_of(const Route& route);

// Nothing is decoded: a path with '%' or a query names nothing here.
std::optional<Route> parse_route(std::string_view path);

// The session in a Cookie header (RFC 6265, 4.2): 64 lower-case hexadecimal digits. None if it is
// missing, malformed, or there twice.
std::optional<std::string> session_cookie(std::string_view header);
// What follows "Bearer " in an Authorization header.
std::optional<std::string_view> bearer_token(std::string_view header);

inline constexpr std::string_view kSessionCookie = "kbs-session-id";
inline constexpr std::size_t kSessionIdBytes = 32;

}  // namespace bulkhead::broker
