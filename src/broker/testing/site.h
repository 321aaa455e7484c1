// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <fstream>
#include <string>

#include "base/check.h"
#include "broker/testing/shell.h"

namespace bulkhead::broker {

// Everything that a broker needs on disk: a SoftHSM token, a certificate, a configuration with the
// tenants alice and bob. One at a time, as SoftHSM finds its own by an environment variable.
class Site {
 public:
  static bool possible() { return have("softhsm2-util") && have("openssl"); }

  explicit Site(const std::string& limits = "") {
    make_token();
    make_certificate();
    write("policy.toml", "");
    write("broker.toml",
          "version = 1\nlisten = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\nstate = \"state\"\n"
          "certificate = \"cert.pem\"\nkey = \"key.pem\"\n"
          "[token]\nmodule = \"/usr/lib/softhsm/libsofthsm2.so\"\nlabel = \"site\"\n"
          "pin-file = \"pin\"\n"
          "[limits]\n" +
              limits +
              "[tenant.alice]\npolicy = \"policy.toml\"\n[tenant.bob]\npolicy = \"policy.toml\"\n");
  }
  ~Site() { ::unsetenv("SOFTHSM2_CONF"); }
  Site(const Site&) = delete;
  Site& operator=(const Site&) = delete;

  std::string operator/(const char* name) const { return dir_ / name; }
  std::string config() const { return dir_ / "broker.toml"; }

  // The program's command with these words, both outputs together.
  ShellResult run(const std::string& words,
                  const std::string& program = BULKHEAD_TEST_BROKER) const {
    return shell("'" + program + "' --config '" + config() + "' " + words + " 2>&1");
  }
  void write(const char* name, const std::string& text) const {
    std::ofstream(dir_ / name) << text;
  }
  // init, and a secret of each tenant.
  void prepare() const {
    const ShellResult made = run("init");
    CHECK(made.status == 0);
    for (const std::string tenant : {"alice", "bob"}) {
      write("secret", tenant + "'s disk");
      CHECK(
          run("resource add " + tenant + " default/disk/key '" + (dir_ / "secret") + "'").status ==
          0);
    }
  }

 private:
  void make_token() const {
    write("softhsm2.conf", "directories.tokendir = " + (dir_ / "tokens") +
                               "\nobjectstore.backend = file\nlog.level = ERROR\n");
    std::filesystem::create_directory(dir_ / "tokens");
    ::setenv("SOFTHSM2_CONF", (dir_ / "softhsm2.conf").c_str(), 1);
    CHECK(
        shell("softhsm2-util --init-token --free --label site --pin 1234 --so-pin 5678 >/dev/null")
            .status == 0);
    write("pin", "1234\n");
  }
  void make_certificate() const {
    CHECK(shell("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
                "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout '" +
                (dir_ / "key.pem") + "' -out '" + (dir_ / "cert.pem") + "' 2>/dev/null")
              .status == 0);
  }

  TempDir dir_;
};

}  // namespace bulkhead::broker
