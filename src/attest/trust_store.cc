// SPDX-License-Identifier: Apache-2.0
#include "attest/trust_store.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include <algorithm>

#include "crypto/openssl_bytes.h"
#include "crypto/openssl_errors.h"

namespace bulkhead {
namespace {

// What the chain of a partition's key may have above its leaf at most.
constexpr int kMaxDepth = 5;
constexpr int kAuthLevel = 2;  // 112 bits: OpenSSL's own idea of what is too weak

struct Release {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(unsigned char* bytes) const { OPENSSL_free(bytes); }
  void operator()(char* text) const { OPENSSL_free(text); }
  void operator()(X509_STORE_CTX* context) const { X509_STORE_CTX_free(context); }
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
};
template <class T>
using Owned = std::unique_ptr<T, Release>;

// One block of a PEM file.
struct Block {
  Owned<char> name;
  Owned<unsigned char> bytes;
  std::size_t size = 0;
};

// Nothing behind the last block; kMalformed for one that is damaged.
Result<std::optional<Block>> next_block(BIO* bio) {
  char* name = nullptr;
  char* header = nullptr;
  unsigned char* bytes = nullptr;
  long size = 0;
  const bool read = PEM_read_bio(bio, &name, &header, &bytes, &size) == 1;
  Block block{Owned<char>(name), Owned<unsigned char>(bytes), static_cast<std::size_t>(size)};
  const Owned<char> unused(header);
  if (read) return std::optional(std::move(block));
  if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE) return std::optional<Block>();
  return Error{Errc::kMalformed, 0, "a damaged PEM block"};
}

// The untrusted part borrows the certificates.
Owned<STACK_OF(X509)> above_leaf(std::span<const Certificate> chain) {
  Owned<STACK_OF(X509)> stack(sk_X509_new_null());
  if (stack == nullptr) return stack;
  for (const Certificate& certificate : chain.subspan(1)) {
    if (sk_X509_push(stack.get(), certificate.get()) == 0) return nullptr;
  }
  return stack;
}

void set_rules(X509_STORE_CTX* context) {
  X509_VERIFY_PARAM* rules = X509_STORE_CTX_get0_param(context);
  X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_X509_STRICT | X509_V_FLAG_NO_CHECK_TIME);
  X509_VERIFY_PARAM_set_depth(rules, kMaxDepth);
  X509_VERIFY_PARAM_set_auth_level(rules, kAuthLevel);
}

// The library may find another way to a root than the one shown: then the certificates shown are
// not those that were verified.
bool is_as_shown(std::span<const Certificate> chain, STACK_OF(X509) * verified) {
  if (static_cast<std::size_t>(sk_X509_num(verified)) < chain.size()) return false;
  for (std::size_t i = 0; i < chain.size(); ++i) {
    if (X509_cmp(chain[i].get(), sk_X509_value(verified, static_cast<int>(i))) != 0) return false;
  }
  return true;
}

// RFC 5280, 6.1.4 (l) does not count a CA that was issued in its issuer's own name. A host could
// make one such with its partition CA, so here every CA counts.
bool keeps_path_lengths(STACK_OF(X509) * verified) {
  for (int i = 1; i < sk_X509_num(verified); ++i) {
    const long length = X509_get_pathlen(sk_X509_value(verified, i));
    if (length >= 0 && length < i - 1) return false;
  }
  return true;
}

}  // namespace

void TrustStore::Free::operator()(x509_store_st* store) const {
  X509_STORE_free(store);
}

Result<TrustStore> TrustStore::create() {
  Handle store(X509_STORE_new());
  if (store == nullptr) return openssl_failed();
  return TrustStore(std::move(store));
}

Result<void> TrustStore::add(Certificate root) {
  const ErrorQueueCleaner cleaner;
  if (!root.is_self_issued()) {
    return Error{Errc::kMalformed, 0, "not self-signed: give the root that issued it"};
  }
  const bool is_root = root.fault_as(CertificateRole::kAuthority) == nullptr ||
                       root.fault_as(CertificateRole::kPartitionCa) == nullptr;
  if (!is_root) return Error{Errc::kMalformed, 0, "not the certificate of a CA"};
  if (roots_.size() == kMaxRoots) return Error{Errc::kExhausted, 0, "more than 64 roots"};
  if (X509_STORE_add_cert(store_.get(), root.get()) != 1) return openssl_failed();
  known_->clear();
  plain_.add(root.encode());
  roots_.push_back(std::move(root));
  return {};
}

Result<void> TrustStore::add_pem(std::string_view text) {
  const ErrorQueueCleaner cleaner;
  ERR_clear_error();  // next_block() reads why reading ended
  const Owned<BIO> bio(
      BIO_new_mem_buf(text.data(), openssl_length(std::as_bytes(std::span(text)))));
  if (bio == nullptr) return openssl_failed();
  bool any = false;
  while (const auto block = TRY(next_block(bio.get()))) {
    if (std::string_view(block->name.get()) != PEM_STRING_X509) {
      return Error{Errc::kMalformed, 0, "a PEM block that is no certificate"};
    }
    const auto der = std::as_bytes(std::span(block->bytes.get(), block->size));
    TRY(add(TRY(Certificate::parse(der))));
    any = true;
  }
  if (!any) return Error{Errc::kNotFound, 0, "no certificate in PEM form"};
  return {};
}

TrustStore::Path TrustStore::path_of(std::span<const Certificate> chain) const {
  const ErrorQueueCleaner cleaner;
  CHECK(!chain.empty());
  const Owned<STACK_OF(X509)> above = above_leaf(chain);
  const Owned<X509_STORE_CTX> context(X509_STORE_CTX_new());
  if (above == nullptr || context == nullptr ||
      X509_STORE_CTX_init(context.get(), store_.get(), chain[0].get(), above.get()) != 1) {
    return {.fault = openssl_failed().what, .root = {}};
  }
  set_rules(context.get());
  if (X509_verify_cert(context.get()) != 1) {
    return {.fault = X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get())),
            .root = {}};
  }
  STACK_OF(X509)* verified = X509_STORE_CTX_get0_chain(context.get());
  if (!is_as_shown(chain, verified)) {
    return {.fault = "the certificates are not in order, or one is needless", .root = {}};
  }
  if (!keeps_path_lengths(verified)) {
    return {.fault = "more CAs than a path length allows", .root = {}};
  }
  const X509* last = sk_X509_value(verified, sk_X509_num(verified) - 1);
  const auto root = std::ranges::find_if(
      roots_, [last](const Certificate& known) { return X509_cmp(known.get(), last) == 0; });
  if (root == roots_.end()) return {.fault = "it ends at no root of ours", .root = {}};
  return {.fault = nullptr, .root = root->validity()};
}

}  // namespace bulkhead
