// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fstream>
#include <sstream>
#include <string>

#include "broker/testing/shell.h"

namespace bulkhead::agent {

// A server's certificate that is its own root, and its key: made by the stock tool.
class CertifiedName {
 public:
  // As openssl.cnf has names: "IP:127.0.0.1", "DNS:broker.example".
  explicit CertifiedName(const std::string& name, const std::string& days = "2") {
    const auto made = broker::shell(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days " + days +
        " -subj /CN=127.0.0.1 -addext subjectAltName=" + name + " -keyout '" + (dir_ / "key.pem") +
        "' -out '" + (dir_ / "cert.pem") + "' 2>/dev/null");
    CHECK(made.status == 0);
  }

  std::string certificate() const { return read(certificate_file()); }
  std::string key() const { return read(dir_ / "key.pem"); }
  std::string certificate_file() const { return dir_ / "cert.pem"; }

 private:
  static std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

  broker::TempDir dir_;
};

}  // namespace bulkhead::agent
