// SPDX-License-Identifier: Apache-2.0
#include "attest/plain_chain.h"

#include <algorithm>

namespace bulkhead {
namespace {

bool same(std::span<const std::byte> one, std::span<const std::byte> other) {
  return std::ranges::equal(one, other);
}

bool names_issuer(const PlainCertificate& child, const PlainCertificate& issuer) {
  return same(child.issuer, issuer.subject) &&
         same(child.extensions.authority_key_id, issuer.extensions.subject_key_id);
}

bool allows(const PlainCertificate& ca, std::size_t cas_below) {
  const auto& length = ca.extensions.path_length;
  return !length || *length >= cas_below;
}

// As Certificate::host_identity().
std::optional<HostIdentity> host_of(const PlainCertificate& ca) {
  const auto host = parse_host_identity(ca.extensions.host_identity);
  if (!host) return std::nullopt;
  if (host->kind == HostIdentity::Kind::kTpm) return *host;
  const auto digest = Sha256::of(ca.key_info);
  if (!digest || *digest != host->fingerprint) return std::nullopt;
  return *host;
}

}  // namespace

// One chain on its way. Every question is about certificates that read() has read.
class PlainRoots::Path {
 public:
  explicit Path(const PlainRoots& roots) : roots_(roots.roots_) {}

  std::optional<ChainFacts> facts_of(std::span<const Bytes> chain) {
    if (!read(chain) || !find_root() || !is_only_way() || !keeps_path_lengths()) {
      return std::nullopt;
    }
    const auto host = host_of(chain_[1]);
    if (!host || !is_signed()) return std::nullopt;
    ChainFacts facts{.validity = {}, .key_info = copy_of(chain_[0].key_info), .host = *host};
    for (const PlainCertificate& one : chain_) facts.validity.push_back(one.validity);
    facts.validity.push_back(root_->certificate.validity);
    return facts;
  }

 private:
  bool read(std::span<const Bytes> chain);
  bool find_root();
  const Root* root_with(std::span<const std::byte> key_id) const;
  bool shows_root() const { return same(chain_.back().whole, root_->der); }
  bool is_only_way() const;
  bool keeps_path_lengths() const;
  bool is_signed() const;

  const std::vector<Root>& roots_;
  std::vector<PlainCertificate> chain_;
  const Root* root_ = nullptr;
};

bool PlainRoots::Path::read(std::span<const Bytes> chain) {
  if (chain.size() < kMinChain || chain.size() > kMaxChain) return false;
  chain_.reserve(chain.size());
  for (const Bytes& der : chain) {
    auto certificate = PlainCertificate::parse(der);
    if (!certificate) return false;
    if (!certificate->extensions.are_good_as(role_at(chain_.size()))) return false;
    chain_.push_back(*certificate);
  }
  return true;
}

// Null if there is none, or more than one.
const PlainRoots::Root* PlainRoots::Path::root_with(std::span<const std::byte> key_id) const {
  const Root* found = nullptr;
  for (const Root& root : roots_) {
    if (!same(root.certificate.extensions.subject_key_id, key_id)) continue;
    if (found != nullptr) return nullptr;
    found = &root;
  }
  return found;
}

// The chain's last certificate, or the one that issued it.
bool PlainRoots::Path::find_root() {
  const PlainCertificate& last = chain_.back();
  root_ = root_with(last.extensions.subject_key_id);
  if (root_ != nullptr) return shows_root();
  root_ = root_with(last.extensions.authority_key_id);
  return root_ != nullptr && names_issuer(last, root_->certificate);
}

// Each certificate but the last is issued by the next, and nobody else could pass for its issuer:
// not itself, and no two that have one key identifier. OpenSSL tries roots before what is shown.
bool PlainRoots::Path::is_only_way() const {
  std::vector<std::span<const std::byte>> key_ids;
  const std::size_t needed = chain_.size() - (shows_root() ? 1 : 0);
  for (std::size_t i = 0; i < needed; ++i) {
    const PlainCertificate& one = chain_[i];
    if (same(one.issuer, one.subject)) return false;
    if (i + 1 < chain_.size() && !names_issuer(one, chain_[i + 1])) return false;
    if (i > 0) key_ids.push_back(one.extensions.subject_key_id);
  }
  for (const Root& root : roots_) key_ids.push_back(root.certificate.extensions.subject_key_id);
  std::ranges::sort(key_ids, std::ranges::lexicographical_compare);
  return std::ranges::adjacent_find(key_ids, same) == key_ids.end();
}

// As TrustStore has it: every CA counts.
bool PlainRoots::Path::keeps_path_lengths() const {
  for (std::size_t i = 1; i < chain_.size(); ++i) {
    if (!allows(chain_[i], i - 1)) return false;
  }
  return shows_root() || allows(root_->certificate, chain_.size() - 1);
}

bool PlainRoots::Path::is_signed() const {
  for (std::size_t i = 0; i + 1 < chain_.size(); ++i) {
    const bool is_root = i + 2 == chain_.size() && shows_root();
    if (is_root) return chain_[i].is_signed_by(root_->key);
    const auto key = chain_[i + 1].public_key();
    if (!key || !chain_[i].is_signed_by(*key)) return false;
  }
  return chain_.back().is_signed_by(root_->key);
}

void PlainRoots::add(Bytes der) {
  const auto certificate = PlainCertificate::parse(der);
  auto key = certificate ? certificate->public_key() : Result<PublicKey>(certificate.error());
  if (!key) {
    all_plain_ = false;
    return;
  }
  roots_.push_back({std::move(der), *certificate, std::move(*key)});
}

std::optional<ChainFacts> PlainRoots::facts_of(std::span<const Bytes> chain) const {
  if (!all_plain_) return std::nullopt;
  return Path(*this).facts_of(chain);
}

}  // namespace bulkhead
