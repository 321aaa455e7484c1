// SPDX-License-Identifier: Apache-2.0
// Evidence verified as a whole, against nothing but the signature verifications that this needs, in
// alternating slices; prints one line of JSON with the nanoseconds that each took of one thread's
// time. That is done with keys prepared, and again with those that come with the evidence still to
// be made of their bytes. Where the chain of certificates is new, the quote and all certificates
// below the root are to be verified; where it was verified before, the quote alone.
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
  TpmEccKey point;
  PublicKey key;
  Bytes message;
  TpmSignature signature;

  bool check() const { return key.verify(signature_view(signature).value(), message).value(); }
  // The same by somebody who has the bytes of the key only.
  bool check_with_new_key() const {
    return key_of(point).verify(signature_view(signature).value(), message).value();
  }
  static PublicKey key_of(const TpmEccKey& point) {
    return PublicKey::create(PublicKey::Point{.curve = point.curve, .x = point.x, .y = point.y})
        .value();
  }
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
  TpmEccKey key{Curve::kP256, copy_of(bytes.subspan(1, 32)), copy_of(bytes.subspan(33, 32))};
  PublicKey prepared = Signed::key_of(key);
  return {std::move(key),
          std::move(prepared),
          std::move(message),
          {TpmAlg::kEcdsa, TpmAlg::kSha256, std::move(r), std::move(s)}};
}

// What a quote needs, or that and its chain: the key's certificate, its host's.
struct Limit {
  Limit(const EvidenceCase& shown, bool is_new) {
    const Evidence evidence = shown.evidence();
    parts.push_back({std::get<TpmEccKey>(evidence.key.key), public_key(evidence.key).value(),
                     evidence.attest, parse_tpm_signature(evidence.signature).value()});
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

// The same where keys come with the evidence, as they do but for the root's.
struct LimitWithKeys : Limit {
  using Limit::Limit;
  void run(unsigned /*turn*/) const {
    const std::size_t of_evidence = parts.size() == 1 ? 1 : parts.size() - 1;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      CHECK(i < of_evidence ? parts[i].check_with_new_key() : parts[i].check());
    }
  }
};

struct Whole {
  explicit Whole(const EvidenceCase& what) : shown(what), text(write_evidence(what.evidence())) {}

  void verify(const std::string& evidence_text) const {
    std::string error;
    const auto evidence = parse_evidence(evidence_text, error);
    CHECK(evidence.has_value());
    CHECK(verify_evidence(*evidence, shown.expectation()).report.accepted());
  }

  const EvidenceCase& shown;
  std::string text;
};

// By somebody who saw this chain before.
struct WholeKnown : Whole {
  explicit WholeKnown(const EvidenceCase& what) : Whole(what) {}
  void prepare(unsigned /*count*/) {}
  void run(unsigned /*turn*/) const { verify(text); }
};

// By somebody who saw other chains before to the same root, each time a new one: the key's
// certificate is made anew.
struct WholeNew : Whole {
  explicit WholeNew(EvidenceCase& what) : Whole(what), changing(what) {}
  void prepare(unsigned count) {
    texts.clear();
    for (unsigned i = 0; i < count; ++i) {
      changing.certify(changing.signer->object());
      texts.push_back(write_evidence(changing.evidence()));
    }
  }
  void run(unsigned turn) const { verify(texts[turn]); }

  EvidenceCase& changing;
  std::vector<std::string> texts;
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
void measure(const char* name, EvidenceCase& shown, Sizes sizes) {
  const bool is_new = std::is_same_v<Contestant, WholeNew>;
  Limit limit(shown, is_new);
  LimitWithKeys with_keys(shown, is_new);
  Contestant whole(shown);
  slice(limit, sizes.count);
  slice(with_keys, sizes.count);
  slice(whole, sizes.count);
  std::printf(", \"%s\": [", name);
  for (unsigned i = 0; i < sizes.slices; ++i) {
    // They take turns in who begins.
    double took[3];
    for (unsigned turn = 0; turn < 3; ++turn) {
      const unsigned who = (turn + i) % 3;
      took[who] = who == 0   ? slice(limit, sizes.count)
                  : who == 1 ? slice(with_keys, sizes.count)
                             : slice(whole, sizes.count);
    }
    std::printf("%s[%.0f, %.0f, %.0f]", i == 0 ? "" : ", ", took[0], took[1], took[2]);
  }
  std::printf("]");
}

int measure_all(Sizes sizes) {
  EvidenceCase shown;
  std::printf("{\"evidence_bytes\": %zu", write_evidence(shown.evidence()).size());
  measure<WholeNew>("new", shown, sizes);
  measure<WholeKnown>("known", shown, sizes);
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
