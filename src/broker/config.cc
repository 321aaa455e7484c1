// SPDX-License-Identifier: Apache-2.0
#include "broker/config.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>

#include "base/toml.h"
#include "base/toml_text.h"
#include "broker/messages.h"
#include "broker/names.h"

namespace bulkhead::broker {
namespace {

constexpr std::size_t kMaxConfigBytes = 64 * 1024;

[[noreturn]] void fail(const toml::source_region& where, const std::string& what) {
  throw UsageError("line " + std::to_string(where.begin.line) + ": " + what);
}

std::string string_of(const toml::node& value) {
  const auto* text = value.as_string();
  if (text == nullptr || text->get().empty()) fail(value.source(), "a string is wanted here");
  return text->get();
}

std::int64_t integer_of(const toml::node& value, std::int64_t least, std::int64_t most) {
  const auto* number = value.as_integer();
  if (number == nullptr || number->get() < least || number->get() > most) {
    fail(value.source(), "a whole number from " + std::to_string(least) + " to " +
                             std::to_string(most) + " is wanted here");
  }
  return number->get();
}

// "127.0.0.1:8443", "[::1]:8443"
ListenAddress address_of(const toml::node& value) {
  const std::string text = string_of(value);
  const std::size_t colon = text.rfind(':');
  ListenAddress address;
  const char* end = text.data() + text.size();
  const char* begin = colon == std::string::npos ? end : text.data() + colon + 1;
  const auto [stop, code] = std::from_chars(begin, end, address.port);
  if (colon == 0 || code != std::errc{} || stop != end) {
    fail(value.source(), "an address and a port are wanted: \"127.0.0.1:8443\"");
  }
  address.host = text.substr(0, colon);
  if (address.host.starts_with('[') && address.host.ends_with(']')) {
    address.host = address.host.substr(1, address.host.size() - 2);
  }
  return address;
}

// What each key of a table does with its value.
using Readers = std::map<std::string, std::function<void(const toml::node&)>, std::less<>>;

std::string known_keys(const Readers& readers) {
  std::string all;
  for (const auto& [name, reader] : readers) all += (all.empty() ? "" : ", ") + name;
  return all;
}

void read_table(const toml::node& node, const Readers& readers) {
  const toml::table* table = node.as_table();
  if (table == nullptr) fail(node.source(), "a table is wanted here");
  for (const auto& [key, value] : *table) {
    const auto found = readers.find(key.str());
    if (found == readers.end()) {
      fail(key.source(),
           "unknown key '" + std::string(key.str()) + "'; known here: " + known_keys(readers));
    }
    found->second(value);
  }
}

class Reader {
 public:
  Reader(Config& config, std::string directory)
      : config_(config), directory_(std::move(directory)) {}

  void read(const toml::table& file) {
    read_table(file, {{"version", [](const toml::node& v) { integer_of(v, 1, 1); }},
                      {"listen", [this](const toml::node& v) { config_.listen = address_of(v); }},
                      {"metrics", [this](const toml::node& v) { config_.metrics = address_of(v); }},
                      {"state", path_into(config_.state)},
                      {"certificate", path_into(config_.certificate)},
                      {"key", path_into(config_.key)},
                      {"token", [this](const toml::node& v) { read_token(v); }},
                      {"limits", [this](const toml::node& v) { read_limits(v); }},
                      {"tenant", [this](const toml::node& v) { read_tenants(v); }}});
    if (!file.contains("version")) throw UsageError("line 1: version = 1 is missing");
    require(config_.state, "state");
    require(config_.certificate, "certificate");
    require(config_.key, "key");
    require(config_.token.module, "token.module");
    require(config_.token.label, "token.label");
    require(config_.token.pin_file, "token.pin-file");
    if (config_.tenants.empty()) throw UsageError("there is no tenant: [tenant.NAME]");
  }

 private:
  using Take = std::function<void(const toml::node&)>;

  static void require(const std::string& value, const char* name) {
    if (value.empty()) throw UsageError(std::string(name) + " is missing");
  }
  Take path_into(std::string& place) {
    return [this, &place](const toml::node& value) {
      place = (std::filesystem::path(directory_) / string_of(value)).lexically_normal().string();
    };
  }
  template <class N>
  static Take number_into(N& place, std::int64_t most) {
    return [&place, most](const toml::node& value) {
      place = static_cast<N>(integer_of(value, 1, most));
    };
  }
  static Take seconds_into(std::chrono::seconds& place, std::int64_t most) {
    return [&place, most](const toml::node& value) {
      place = std::chrono::seconds(integer_of(value, 1, most));
    };
  }

  void read_token(const toml::node& node) {
    TokenConfig& token = config_.token;
    read_table(node, {{"module", path_into(token.module)},
                      {"label", [&](const toml::node& v) { token.label = string_of(v); }},
                      {"pin-file", path_into(token.pin_file)}});
  }

  void read_limits(const toml::node& node) {
    constexpr std::int64_t kMany = 1'000'000;
    constexpr std::int64_t kDay = 86'400;
    read_table(node,
               {{"peer-per-second", number_into(config_.peer_rate.per_second, kMany)},
                {"peer-burst", number_into(config_.peer_rate.burst, kMany)},
                {"tenant-per-second", number_into(config_.tenant_rate.per_second, kMany)},
                {"tenant-burst", number_into(config_.tenant_rate.burst, kMany)},
                {"sessions", number_into(config_.sessions.sessions, 65'536)},
                {"challenge-s", seconds_into(config_.sessions.challenge_life, kDay)},
                {"session-s", seconds_into(config_.sessions.session_life, kDay)},
                {"connections", number_into(config_.http.connections, 4'096)},
                {"connections-per-peer", number_into(config_.http.connections_per_peer, 4'096)},
                {"silence-s", seconds_into(config_.http.silence, kDay)},
                {"connection-s", seconds_into(config_.http.connection_life, kDay)}});
  }

  void read_tenants(const toml::node& node) {
    const toml::table* tenants = node.as_table();
    if (tenants == nullptr) fail(node.source(), "[tenant.NAME] is wanted");
    for (const auto& [key, value] : *tenants) {
      TenantConfig tenant{.name = std::string(key.str()), .policy = {}, .trust = {}};
      if (!is_tenant_name(tenant.name)) {
        fail(key.source(), "a tenant's name has 1 to 64 lower-case letters, digits and '-'");
      }
      read_table(value, {{"policy", path_into(tenant.policy)}, {"trust", path_into(tenant.trust)}});
      if (tenant.policy.empty()) fail(key.source(), "the tenant has no policy = FILE");
      config_.tenants.push_back(std::move(tenant));
    }
  }

  Config& config_;
  const std::string directory_;
};

}  // namespace

const TenantConfig* Config::find(std::string_view tenant) const {
  const auto found = std::ranges::find(tenants, tenant, &TenantConfig::name);
  return found == tenants.end() ? nullptr : &*found;
}

Config parse_config(std::string_view text, const std::string& directory) {
  if (text.size() > kMaxConfigBytes) throw UsageError("a configuration has at most 64 KiB");
  if (const std::size_t line = first_line_beyond_ascii(text); line != 0) {
    throw UsageError("line " + std::to_string(line) + ": " + kBeyondAscii);
  }
  Config config;
  config.http.body_bytes = kMaxAttestBytes;
  try {
    Reader(config, directory).read(toml::parse(text));
  } catch (const toml::parse_error& error) {
    fail(error.source(), std::string(error.description()));
  }
  return config;
}

Config read_config(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) throw UsageError(path + ": cannot be read");
  try {
    const auto directory = std::filesystem::absolute(path).parent_path();
    return parse_config(text.str(), directory.string());
  } catch (const UsageError& error) {
    throw UsageError(path + ": " + error.what());
  }
}

}  // namespace bulkhead::broker
