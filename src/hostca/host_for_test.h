// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "base/check.h"
#include "hostca/enrolment.h"
#include "seal/temp_dir_for_test.h"

namespace bulkhead::hostca {

inline constexpr std::int64_t kTestNow = 1'800'000'000;

inline std::string read_whole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

inline void write_whole(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

// What a shell says to a command, and whether it succeeded.
struct Said {
  bool ok = false;
  std::string text;
};
inline Said shell(const std::string& command) {
  FILE* pipe = ::popen(("{ " + command + "\n} 2>&1").c_str(), "re");
  CHECK(pipe != nullptr);
  Said said;
  char buffer[512];
  for (std::size_t got = 0; (got = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) {
    said.text.append(buffer, got);
  }
  said.ok = ::pclose(pipe) == 0;
  return said;
}

// A TPM maker with a certification authority, as swtpm's tools make one.
class TpmMaker {
 public:
  static bool is_installed() {
    return ::access("/usr/bin/swtpm_setup", X_OK) == 0 && ::access("/usr/bin/swtpm", X_OK) == 0;
  }

  TpmMaker() {
    const std::string ca = dir_.path() + "/ca";
    write_whole(dir_.path() + "/localca.conf",
                "statedir = " + ca + "\nsigningkey = " + ca + "/signkey.pem\nissuercert = " + ca +
                    "/issuercert.pem\ncertserial = " + ca + "/certserial\n");
    write_whole(
        dir_.path() + "/setup.conf",
        "create_certs_tool= /usr/bin/swtpm_localca\ncreate_certs_tool_config = " + dir_.path() +
            "/localca.conf\ncreate_certs_tool_options = /etc/swtpm-localca.options\n"
            "active_pcr_banks = sha256\n");
    CHECK(shell("mkdir '" + ca + "'").ok);
  }

  // Makes a TPM in a new directory, and its endorsement key's certificate.
  void make(const std::string& directory) const {
    const Said said = shell("mkdir '" + directory + "' && swtpm_setup --tpm2 --tpm-state '" +
                            directory + "' --create-ek-cert --lock-nvram --config '" + dir_.path() +
                            "/setup.conf' --logfile '" + dir_.path() + "/log'");
    CHECK(said.ok);
  }

  std::vector<Bytes> roots() const {
    auto issuer = read_pem(read_whole(dir_.path() + "/ca/issuercert.pem")).value();
    const auto root =
        read_pem(read_whole(dir_.path() + "/ca/swtpm-localca-rootca-cert.pem")).value();
    issuer.insert(issuer.end(), root.begin(), root.end());
    return issuer;
  }
  // The files of these certificates.
  std::string directory() const { return dir_.path() + "/ca"; }

 private:
  TempDir dir_;
};

// swtpm, running on what a maker made. It ends with the test.
class RunningTpm {
 public:
  explicit RunningTpm(const TpmMaker& maker) {
    const std::string state = dir_.path() + "/tpm";
    maker.make(state);
    pid_ = ::fork();
    CHECK(pid_ >= 0);
    if (pid_ == 0) run(state);
    for (int i = 0; i < 3000 && ::access(socket().c_str(), F_OK) != 0; ++i) ::usleep(10'000);
  }
  ~RunningTpm() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  RunningTpm(const RunningTpm&) = delete;
  RunningTpm& operator=(const RunningTpm&) = delete;

  // For tpm2-tss.
  std::string where() const { return "swtpm:path=" + socket(); }

 private:
  std::string socket() const { return dir_.path() + "/socket"; }
  [[noreturn]] void run(const std::string& state) const {
    const std::string server = "type=unixio,path=" + socket();
    const std::string control = "type=unixio,path=" + socket() + ".ctrl";
    ::dup2(::open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
    ::execl("/usr/bin/swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", ("dir=" + state).c_str(),
            "--server", server.c_str(), "--ctrl", control.c_str(), "--flags",
            "not-need-init,startup-clear", nullptr);
    ::_exit(1);
  }

  TempDir dir_;
  pid_t pid_ = -1;
};

// Who enrols hosts: a root, made by OpenSSL's own tool.
class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name = "Fleet root") {
    const std::string base = dir_.path() + "/";
    const Said said = shell(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout '" + base +
        "key.pem' -out '" + base + "root.pem' -days 4000 -subj '/CN=" + name +
        "' -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign'");
    CHECK(said.ok);
    const std::string pem = read_whole(base + "key.pem");
    issuer_ = std::make_unique<SoftwareIssuer>(
        SigningKey::from_pem(std::as_bytes(std::span(pem))).value());
  }

  Authority authority() const { return {*issuer_, read_pem(read_whole(root_file())).value()}; }
  std::string root_file() const { return dir_.path() + "/root.pem"; }
  std::string key_file() const { return dir_.path() + "/key.pem"; }

 private:
  TempDir dir_;
  std::unique_ptr<SoftwareIssuer> issuer_;
};

}  // namespace bulkhead::hostca
