// SPDX-License-Identifier: Apache-2.0
#include "broker/refusal.h"

#include "broker/strict_json.h"

namespace bulkhead::broker {
namespace {

constexpr std::string_view kTypePrefix = "urn:bulkhead:broker:";
constexpr unsigned kUnauthorized = 401;
constexpr unsigned kUnavailable = 503;

Json error_json(std::string_view kind, std::string_view detail) {
  return {{"type", std::string(kTypePrefix).append(kind)}, {"detail", detail}};
}

HttpResponse respond(unsigned status, const Json& body) {
  HttpResponse response{.status = status, .body = body.dump()};
  if (status == kUnavailable || status == 429) response.headers.emplace_back("Retry-After", "1");
  return response;
}

bool is_reason(const Finding& finding) {
  return finding.outcome == CheckOutcome::kFailed || finding.outcome == CheckOutcome::kNotReached;
}

}  // namespace

HttpResponse refuse(unsigned status, std::string_view kind, std::string_view detail) {
  return respond(status, error_json(kind, detail));
}

HttpResponse refuse(unsigned status, std::string_view kind, const Report& report) {
  const Finding* first = report.refusal();
  Json body = error_json(
      kind, first == nullptr ? "the evidence cannot be read" : refusal_text(first->check));
  Json reasons = Json::array();
  for (const Finding& finding : report.findings()) {
    if (!is_reason(finding)) continue;
    reasons.push_back({{"check", to_string(finding.check)}, {"text", to_line(finding)}});
  }
  body["reasons"] = std::move(reasons);
  return respond(status, body);
}

HttpResponse refuse(const Error& error) {
  switch (error.code) {
    case Errc::kMalformed:
    case Errc::kTruncated:
    case Errc::kUnsupported:
      return refuse(400, "request", error.what);
    case Errc::kNotFound:
      return refuse(kUnauthorized, "session", error.what);
    default:
      return refuse(kUnavailable, "unavailable", error.what);
  }
}

std::string reason_of(const Report& report) {
  const Finding* first = report.refusal();
  return first == nullptr ? "evidence" : to_string(first->check);
}

}  // namespace bulkhead::broker
