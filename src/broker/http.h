// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace bulkhead::broker {

// A request as it came, foreign but for its peer.
struct HttpRequest {
  std::string method;
  std::string path;  // not decoded
  std::string cookie = {};
  std::string authorization = {};
  std::string body = {};
  std::string peer = {};  // a numeric address, from the kernel
};

struct HttpResponse {
  unsigned status = 500;
  std::string body = {};
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers = {};
};

// Called by several threads at once. What it throws becomes status 500, with no word of why.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  virtual HttpResponse handle(const HttpRequest& request) = 0;
};

}  // namespace bulkhead::broker
