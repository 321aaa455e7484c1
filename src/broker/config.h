// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "broker/http_server.h"
#include "broker/rate_limiter.h"
#include "broker/session_table.h"
#include "broker/token/pkcs11_token.h"

namespace bulkhead::broker {

// The user's file or command line is wrong: exit status 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct TenantConfig {
  std::string name;
  std::string policy;  // a file: docs/formats/policy.md
  std::string trust;   // a directory of certificates that evidence may lead to; may be empty
};

// broker.toml; docs/man/bulkhead-broker.8 has the keys. Paths are absolute once it is read.
struct Config {
  ListenAddress listen{.host = "127.0.0.1", .port = 8443};
  ListenAddress metrics{.host = {}, .port = 0};  // no host: no metrics
  std::string state;                             // the directory of store and audit log
  std::string certificate;
  std::string key;
  TokenConfig token;
  std::vector<TenantConfig> tenants;
  SessionLimits sessions;
  Rate peer_rate{.per_second = 20, .burst = 40};
  Rate tenant_rate{.per_second = 200, .burst = 400};
  HttpLimits http;

  std::string store_path() const { return state + "/resources.db"; }
  std::string audit_path() const { return state + "/audit.log"; }
  const TenantConfig* find(std::string_view tenant) const;
};

// Relative paths count from `directory`. Throws UsageError with the line that is wrong.
Config parse_config(std::string_view text, const std::string& directory);
Config read_config(const std::string& path);

}  // namespace bulkhead::broker
