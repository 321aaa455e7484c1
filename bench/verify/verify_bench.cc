// SPDX-License-Identifier: Apache-2.0
// Evidence verified as a whole, against nothing but the signature verifications that this needs, in
// alternating slices; prints one line of JSON with the nanoseconds that each took of one thread's
// time. There are two such pairs. Where the chain of certificates is new, the quote and all
// certificates below the root are to be verified; where it was verified before, the quote alone.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "attest/evidence_case_for_test.h"
#include "attest/json/evidence_json.h"

namespace bulkhead::bench {
namespace {

// A signature with what is needed to check it, and nothing left to prepare.
struct Signed {
  PublicKey key;
  Bytes message;
  TpmSignature signature;

  bool check() const { return key.verify(signature_view(signature).value(), message).value(); }
};

// The tbsCertificate and signature of a certificate on P-256.
Signed signed_by(const Bytes& der, EVP_PKEY* issuer) {
  const unsigned char* position = openssl_bytes(std::span<const std::byte>(der));
  const AuthorityForTest::Handle certificate(d2i_X509(nullptr, &position, openssl_length(der)));
  unsigned char* encoded = nullptr;
  const int length = i2d_re_X509_tbs(certificate.get(), &encoded);
  Bytes message = copy_of(std::as_bytes(std::span(encoded, static_cast<std::size_t>(length))));
  OPENSSL_free(encoded);
  const ASN1_BIT_STRING* bits = nullptr;
  X509_get0_signature(&bits, nullptr, certificate.get());
  const unsigned char* start = ASN1_STRING_get0_data(bits);
  ECDSA_SIG* pair = d2i_ECDSA_SIG(nullptr, &start, ASN1_STRING_length(bits));
  Bytes r(32);
  Bytes s(32);
  BN_bn2binpad(ECDSA_SIG_get0_r(pair), openssl_bytes(std::span<std::byte>(r)), 32);
  BN_bn2binpad(ECDSA_SIG_get0_s(pair), openssl_bytes(std::span<std::byte>(s)), 32);
  ECDSA_SIG_free(pair);
  Bytes point(65);
  std::size_t size = 0;
  EVP_PKEY_get_octet_string_param(issuer, "encoded-pub-key",
                                  openssl_bytes(std::span<std::byte>(point)), point.size(), &size);
  const auto bytes = std::span(point);
  return {PublicKey::create(PublicKey::Point{.curve = Curve::kP256,
                                             .x = bytes.subspan(1, 32),
                                             .y = bytes.subspan(33, 32)})
              .value(),
          std::move(message),
          {TpmAlg::kEcdsa, TpmAlg::kSha256, std::move(r), std::move(s)}};
}

// What a quote needs, or that and its chain: the key's certificate, its host's.
struct Limit {
  Limit(const EvidenceCase& shown, bool is_new) {
    const Evidence evidence = shown.evidence();
    parts.push_back({public_key(evidence.key).value(), evidence.attest,
                     parse_tpm_signature(evidence.signature).value()});
    if (!is_new) return;
    parts.push_back(signed_by(evidence.certificates[0], shown.partition_ca->key()));
    parts.push_back(signed_by(evidence.certificates[1], shown.root->key()));
  }
  void prepare(unsigned /*count*/) {}
  void run(unsigned /*turn*/) const {
    CHECK(std::ranges::all_of(parts, [](const Signed& part) { return part.check(); }));
  }

  std::vector<Signed> parts;
};

struct Whole {
  explicit Whole(const EvidenceCase& what) : shown(what), text(write_evidence(what.evidence())) {}

  void verify(const TrustStore& trust) const {
    std::string error;
    const auto evidence = parse_evidence(text, error);
    CHECK(evidence.has_value());
    const EvidenceExpectation expectation{.policy = shown.policy,
                                          .trust = trust,
                                          .now = shown.now,
                                          .secret = {},
                                          .challenge = shown.challenge,
                                          .asked_s_ago = shown.asked_s_ago};
    CHECK(verify_evidence(*evidence, expectation).report.accepted());
  }

  const EvidenceCase& shown;
  std::string text;
};

// By somebody who saw this chain before.
struct WholeKnown : Whole {
  explicit WholeKnown(const EvidenceCase& what) : Whole(what) {}
  void prepare(unsigned /*count*/) {}
  void run(unsigned /*turn*/) const { verify(shown.trust); }
};

// By somebody who saw no chain before: each time another one, who read its roots in advance.
struct WholeNew : Whole {
  explicit WholeNew(const EvidenceCase& what) : Whole(what) {}
  void prepare(unsigned count) {
    trusts.clear();
    for (unsigned i = 0; i < count; ++i) {
      trusts.push_back(TrustStore::create().value());
      CHECK(trusts.back().add(Certificate::parse(shown.root->der()).value()));
    }
  }
  void run(unsigned turn) const { verify(trusts[turn]); }

  std::vector<TrustStore> trusts;
};

double cpu_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

template <class Entrant>
double slice(Entrant& entrant, unsigned count) {
  entrant.prepare(count);
  const double start = cpu_ns();
  for (unsigned i = 0; i < count; ++i) entrant.run(i);
  return (cpu_ns() - start) / count;
}

struct Sizes {
  unsigned slices;
  unsigned count;  // in a slice
};

template <class Contestant>
void measure(const char* name, Limit limit, Contestant whole, Sizes sizes) {
  slice(limit, sizes.count);
  slice(whole, sizes.count);
  std::printf(", \"%s\": [", name);
  for (unsigned i = 0; i < sizes.slices; ++i) {
    // They take turns in who begins.
    double pair[2];
    for (unsigned turn : {i % 2, 1 - i % 2}) {
      pair[turn] = turn == 0 ? slice(limit, sizes.count) : slice(whole, sizes.count);
    }
    std::printf("%s[%.0f, %.0f]", i == 0 ? "" : ", ", pair[0], pair[1]);
  }
  std::printf("]");
}

int measure_all(Sizes sizes) {
  const EvidenceCase shown;
  std::printf("{\"evidence_bytes\": %zu", write_evidence(shown.evidence()).size());
  measure("new", Limit(shown, true), WholeNew(shown), sizes);
  measure("known", Limit(shown, false), WholeKnown(shown), sizes);
  std::printf("}\n");
  return 0;
}

}  // namespace
}  // namespace bulkhead::bench

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: verify_bench SLICES COUNT\n");
    return 2;
  }
  return bulkhead::bench::measure_all(
      {.slices = static_cast<unsigned>(std::strtoul(argv[1], nullptr, 10)),
       .count = static_cast<unsigned>(std::strtoul(argv[2], nullptr, 10))});
}
