// SPDX-License-Identifier: Apache-2.0
#include "cli/host_command.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>

#include "cli/error.h"
#include "cli/host_files.h"
#include "hostca/enrolment.h"
#include "hostca/tpm/open_host_ca.h"

namespace bulkhead::cli {

using namespace hostca;

namespace {

constexpr unsigned kSoftwareDays = 365;

std::string host_name(const HostOptions& options) {
  if (!options.name.empty()) return options.name;
  char name[65] = {};
  if (::gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return "host";
  return name;
}

StateDirectory create_state(const HostOptions& options) {
  return value_or_fail(StateDirectory::create(options.state), "'" + options.state + "'");
}

std::string time_text(std::int64_t seconds) {
  const std::time_t time = seconds;
  tm parts{};
  ::gmtime_r(&time, &parts);
  char text[32] = {};
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

void install(const StateDirectory& state, const std::vector<Bytes>& chain) {
  const std::string pem = to_pem(chain);
  check_or_fail(state.write(StateDirectory::kCertificates, std::as_bytes(std::span(pem))),
                "the host's certificates");
}

// The other kind of key, of an earlier enrolment, would be taken for this one's.
void enrol_software(const HostOptions& options) {
  const StateDirectory state = create_state(options);
  SigningKey made = value_or_fail(SigningKey::generate(), "a software key");
  const SecretBytes pem = value_or_fail(made.pem(), "a software key");
  SoftwareIssuer key(std::move(made));
  const Validity validity = valid_for_days(::time(nullptr), kSoftwareDays);
  const Bytes own =
      value_or_fail(self_certify(key, host_name(options), validity), "the host's certificate");
  check_or_fail(state.write(StateDirectory::kSoftwareKey, pem.bytes()), "the host's key");
  install(state, {own});
  std::printf(
      "The partition CA has a key in software: whoever can read %s/software.key can be this host.\n"
      "It vouches for itself, and every certificate says so: a relying party that accepts that "
      "puts\n"
      "%s/certificates.pem into its trust directory.\n",
      options.state.c_str(), options.state.c_str());
}

void write_request(const HostOptions& options) {
  const StateDirectory state = create_state(options);
  const EnrolledTpm host = value_or_fail(open_enrolled_tpm(state, options.tpm), "the host's TPM");
  const HostRequest request{
      .name = host_name(options), .endorsement = host.endorsement, .ca_key = host.ca_key};
  write_file(options.request, serialize(request));
  if (host.endorsement.certificates.empty()) {
    std::fprintf(stderr,
                 "bulkhead: the TPM has no certificate of its endorsement key; who enrols this "
                 "host cannot tell that it is a real one\n");
  }
  std::printf(
      "%s is for who enrols hosts, who answers with a file of 'bulkhead host certify';\n"
      "then: bulkhead host enrol --grant FILE\n",
      options.request.c_str());
}

void check_identity(const Bytes& certificate, const EnrolledTpm& host) {
  const CertificateFacts facts = value_or_fail(read_certificate(certificate), "the grant");
  const auto fingerprint =
      value_or_fail(endorsement_fingerprint(host.endorsement.key), "the endorsement key");
  if (facts.host != HostIdentity{HostIdentity::Kind::kTpm, fingerprint}) {
    throw HostError("the grant's certificate names another host; make a new request");
  }
}

void open_and_install(const HostOptions& options) {
  const HostGrant grant =
      value_or_fail(parse_host_grant(read_file(options.grant)), "'" + options.grant + "'");
  const StateDirectory state = create_state(options);
  const EnrolledTpm host = value_or_fail(open_enrolled_tpm(state, options.tpm), "the host's TPM");
  if (grant.ca_name != value_or_fail(tpm_name(host.ca_key), "the partition CA's key")) {
    throw HostError("'" + options.grant +
                    "' is for another host, or for an older request of this one; make a new one");
  }
  const Bytes secret = value_or_fail(host.tpm->activate(grant.credential), options.grant);
  const std::vector<Bytes> chain = value_or_fail(open_grant(grant, secret), options.grant);
  check_identity(chain.front(), host);
  check_or_fail(state.remove(StateDirectory::kSoftwareKey), "the host's old key");
  install(state, chain);
  std::printf("This host is enrolled; its partition CA's key is in its TPM.\n");
}

int enrol(const HostOptions& options) {
  const int chosen = (options.request.empty() ? 0 : 1) + (options.grant.empty() ? 0 : 1) +
                     (options.software ? 1 : 0);
  if (chosen != 1) {
    throw UsageError(
        "'host enrol' takes one of --request FILE, --grant FILE and --software; see 'bulkhead host "
        "enrol --help'");
  }
  if (options.software) enrol_software(options);
  if (!options.request.empty()) write_request(options);
  if (!options.grant.empty()) open_and_install(options);
  return kExitOk;
}

int certify(const HostOptions& options) {
  const HostRequest request =
      value_or_fail(parse_host_request(read_file(options.request)), "'" + options.request + "'");
  const std::int64_t now = ::time(nullptr);
  check_or_fail(check_endorsement(request.endorsement, read_certificates(options.tpm_roots), now),
                "'" + options.request + "'");
  const std::string pem = read_file(options.authority_key);
  SoftwareIssuer key(value_or_fail(SigningKey::from_pem(std::as_bytes(std::span(pem))),
                                   "'" + options.authority_key + "'"));
  const GrantTerms terms{.name = options.name.empty() ? request.name : options.name,
                         .validity = valid_for_days(now, options.days)};
  const Authority authority{key, read_certificates(options.authority_certificates)};
  const HostGrant grant =
      value_or_fail(grant_certificate(request, authority, terms), "'" + options.request + "'");
  write_file(options.grant, serialize(grant));
  const auto fingerprint =
      value_or_fail(endorsement_fingerprint(request.endorsement.key), "the endorsement key");
  std::printf("host %s\n%s opens in its TPM only\n", to_hex(fingerprint).c_str(),
              options.grant.c_str());
  return kExitOk;
}

struct Shown {
  CertificateFacts facts;
  std::size_t certificates = 0;
  bool expired = false;

  bool in_tpm() const { return facts.host->kind == HostIdentity::Kind::kTpm; }
};

Shown look(const HostOptions& options) {
  const StateDirectory state =
      value_or_fail(StateDirectory::open(options.state), "'" + options.state + "'");
  if (!state.has(StateDirectory::kCertificates)) {
    throw HostError("this host is not enrolled; see 'bulkhead host enrol --help'");
  }
  const auto text = value_or_fail(state.read_text(StateDirectory::kCertificates), options.state);
  const auto chain = value_or_fail(read_pem(text), options.state);
  Shown shown{.facts = value_or_fail(read_certificate(chain.front()), options.state),
              .certificates = chain.size()};
  if (!shown.facts.host) throw HostError("the first certificate is not one of a partition CA");
  shown.expired = shown.facts.validity.not_after < ::time(nullptr);
  return shown;
}

void print_json(const Shown& shown) {
  const nlohmann::ordered_json object{{"host", to_hex(shown.facts.host->fingerprint)},
                                      {"key", shown.in_tpm() ? "tpm" : "software"},
                                      {"subject", shown.facts.subject},
                                      {"issuer", shown.facts.issuer},
                                      {"not_before", time_text(shown.facts.validity.not_before)},
                                      {"not_after", time_text(shown.facts.validity.not_after)},
                                      {"expired", shown.expired},
                                      {"certificates", shown.certificates}};
  constexpr auto kReplace = nlohmann::json::error_handler_t::replace;
  std::printf("%s\n", object.dump(2, ' ', false, kReplace).c_str());
}

int show(const HostOptions& options) {
  const Shown shown = look(options);
  if (options.json) {
    print_json(shown);
    return kExitOk;
  }
  const CertificateFacts& facts = shown.facts;
  std::printf("host       %s\n", to_hex(facts.host->fingerprint).c_str());
  std::printf("key        %s\n", shown.in_tpm()
                                     ? "in the host's TPM"
                                     : "in software: whoever copies it can be this host");
  std::printf("subject    %s\nissuer     %s\n", facts.subject.c_str(), facts.issuer.c_str());
  std::printf("valid      %s to %s%s\n", time_text(facts.validity.not_before).c_str(),
              time_text(facts.validity.not_after).c_str(),
              shown.expired ? " (expired: enrol again)" : "");
  return kExitOk;
}

}  // namespace

int host_command(const HostOptions& options) {
  // tpm2-tss tells on standard error what we say in one line. Who wants it sets the variable.
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the command line has one thread
  ::setenv("TSS2_LOG", "all+none", 0);
  if (options.action == "enrol") return enrol(options);
  if (options.action == "certify") return certify(options);
  if (options.action == "counters") return host_counters(options);
  return show(options);
}

}  // namespace bulkhead::cli
