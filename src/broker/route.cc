// SPDX-License-Identifier: Apache-2.0
#include "broker/route.h"

#include <algorithm>

#include "broker/names.h"

namespace bulkhead::broker {
namespace {

constexpr std::string_view kTenantPrefix = "/tenant/";
constexpr std::string_view kProtocolPrefix = "/kbs/v0/";
constexpr std::string_view kResourcePrefix = "resource/";
constexpr std::string_view kBearer = "Bearer ";

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// Leaves the path from the slash after the tenant's name on.
bool take_tenant(std::string_view& path, std::string& tenant) {
  if (!take_prefix(path, kTenantPrefix)) return true;
  const std::size_t end = std::min(path.find('/'), path.size());
  tenant = path.substr(0, end);
  path.remove_prefix(end);
  return is_tenant_name(tenant);
}

bool is_session_id(std::string_view text) {
  return text.size() == 2 * kSessionIdBytes && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace

std::string prefix_of(const Route& route) {
  const std::string tenant = route.tenant.empty() ? "" : std::string(kTenantPrefix) + route.tenant;
  return tenant + std::string(kProtocolPrefix.substr(0, kProtocolPrefix.size() - 1));
}

const char* to_string(Endpoint endpoint) {
  switch (endpoint) {
    case Endpoint::kAuth:
      return "auth";
    case Endpoint::kAttest:
      return "attest";
    case Endpoint::kResource:
      return "resource";
  }
  return "unknown";
}

std::optional<Route> parse_route(std::string_view path) {
  Route route;
  if (!take_tenant(path, route.tenant) || !take_prefix(path, kProtocolPrefix)) return std::nullopt;
  if (take_prefix(path, kResourcePrefix)) {
    route.endpoint = Endpoint::kResource;
    route.resource = path;
    if (!is_resource_name(path)) return std::nullopt;
    return route;
  }
  if (path != "auth" && path != "attest") return std::nullopt;
  route.endpoint = path == "auth" ? Endpoint::kAuth : Endpoint::kAttest;
  return route;
}

std::optional<std::string> session_cookie(std::string_view header) {
  std::optional<std::string> found;
  while (!header.empty()) {
    const std::size_t end = std::min(header.find(';'), header.size());
    std::string_view pair = header.substr(0, end);
    header.remove_prefix(std::min(end + 1, header.size()));
    while (pair.starts_with(' ')) pair.remove_prefix(1);
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos || pair.substr(0, equals) != kSessionCookie) continue;
    if (found || !is_session_id(pair.substr(equals + 1))) return std::nullopt;
    found = pair.substr(equals + 1);
  }
  return found;
}

std::optional<std::string_view> bearer_token(std::string_view header) {
  if (!take_prefix(header, kBearer) || header.empty()) return std::nullopt;
  return header;
}

}  // namespace bulkhead::broker
