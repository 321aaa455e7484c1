// SPDX-License-Identifier: Apache-2.0
#include "hostca/endorsement.h"

#include "hostca/openssl_x509.h"

namespace bulkhead::hostca {
namespace {

using x509::Owned;

constexpr int kMaxDepth = 4;

Error refused(const char* what) {
  return Error{Errc::kPermission, 0, what};
}

Result<void> has_key(const X509* certificate, const TpmPublic& object) {
  const PublicKey key = TRY(public_key(object));
  const Owned<EVP_PKEY> own = x509::decode_key(TRY(key.info()));
  if (own != nullptr && EVP_PKEY_eq(X509_get0_pubkey(certificate), own.get()) == 1) return {};
  return refused("the endorsement key's certificate is of another key");
}

const char* reason(int error) {
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return "a certificate of the endorsement key's chain is not valid now";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return "the TPM's maker is not among the trusted ones: add its certificates to --tpm-roots";
    default:
      return "the chain of the endorsement key's certificate does not verify";
  }
}

Result<void> leads_to_trusted(X509* certificate, X509_STORE* store, STACK_OF(X509) * others,
                              std::int64_t now) {
  const Owned<X509_STORE_CTX> context(X509_STORE_CTX_new());
  if (context == nullptr || X509_STORE_CTX_init(context.get(), store, certificate, others) != 1) {
    return openssl_failed();
  }
  X509_VERIFY_PARAM* rules = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(rules, now);
  X509_VERIFY_PARAM_set_depth(rules, kMaxDepth);
  X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_PARTIAL_CHAIN);
  if (X509_verify_cert(context.get()) == 1) return {};
  return refused(reason(X509_STORE_CTX_get_error(context.get())));
}

}  // namespace

Result<void> check_endorsement(const Endorsement& endorsement, const std::vector<Bytes>& trusted,
                               std::int64_t now) {
  const x509::ErrorQueueCleaner cleaner;
  if (endorsement.certificates.empty()) {
    return refused("the host's TPM has no certificate of its endorsement key");
  }
  const Owned<X509> own = x509::decode(endorsement.certificates.front());
  if (own == nullptr) return refused("the endorsement key's certificate is malformed");
  TRY(has_key(own.get(), endorsement.key));
  const Owned<X509_STORE> store(X509_STORE_new());
  for (const Bytes& der : trusted) {
    const Owned<X509> certificate = x509::decode(der);
    if (certificate == nullptr || X509_STORE_add_cert(store.get(), certificate.get()) != 1) {
      return refused("a trusted certificate is malformed");
    }
  }
  std::vector<Owned<X509>> owned;
  const Owned<STACK_OF(X509)> others(sk_X509_new_null());
  for (std::size_t i = 1; i < endorsement.certificates.size(); ++i) {
    owned.push_back(x509::decode(endorsement.certificates[i]));
    if (owned.back() != nullptr) sk_X509_push(others.get(), owned.back().get());
  }
  return leads_to_trusted(own.get(), store.get(), others.get(), now);
}

Result<Sha256Digest> endorsement_fingerprint(const TpmPublic& key) {
  return Sha256::of(serialize(key));
}

}  // namespace bulkhead::hostca
