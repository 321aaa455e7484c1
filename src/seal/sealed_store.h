// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>

#include "base/result.h"
#include "base/thread_annotations.h"
#include "mem/page_vault.h"
#include "seal/block_store.h"
#include "seal/bonsai_tree.h"
#include "seal/gate.h"
#include "seal/key_source.h"
#include "seal/medium.h"
#include "seal/page_codec.h"
#include "seal/page_digests.h"
#include "seal/rollback_anchor.h"
#include "seal/superblock.h"

namespace bulkhead {

struct SealedStoreOptions {
  Medium& medium;  // outlives the store, and so do key's, anchor's and codec's objects
  KeySource& key;  // asked once
  Purpose purpose;
  RollbackAnchor* anchor = nullptr;  // without one, a whole older store is not noticed
  std::uint64_t page_count = 0;      // create: required. open: refuse another count, unless 0
  std::optional<StoreId> store{};    // open: refuse another store
  // Nodes of 4 KiB (for 128 pages each) kept in memory; the levels above always are.
  std::size_t cached_nodes = std::numeric_limits<std::size_t>::max();
  PageCodec* codec = nullptr;  // none: no compression, and packed pages are kUnsupported
  bool read_only = false;      // open: no session begins, nothing is written
  // A page that is put again as it is costs a digest of it instead of being sealed anew; all others
  // cost that digest, too. For callers that cannot tell what was written to. Takes 16 bytes a page.
  bool notice_unchanged = false;
  std::uint64_t session_uses = PageSealer::kMaxUses;  // tests have fewer
};

struct SealedStoreStats {
  std::uint64_t page_count = 0;
  std::uint64_t sealed_pages = 0;  // the others are zeroes and take no space
  std::uint64_t stored_bytes = 0;  // of pages and nodes, in use now
  std::uint64_t generation = 0;    // of the last commit
  std::size_t sessions = 0;
};

// Pages, sealed, in a crash-safe store: after a power cut, the state of the last commit() or, if
// one was under way, possibly of that. Format: docs/formats/sealed.md.
//
// Errors of open(): kPermission wrong key; kUnsupported format of another version; kInvalidArgument
// another store or purpose; kTruncated the medium lost its end; kMalformed changed or damaged;
// kRolledBack authentic, but not the newest. Of put() and commit(): kExhausted when the medium is
// full; the old content stays, and the store works on. kIo after a failed sync: reopen it.
//
// put, get, forget and commit may be called from any thread, put, get and forget for one page only
// one at a time. A process that forks must not use the store in the child.
class SealedStore final : public PageVault {
 public:
  // kExists if the medium holds a store.
  static Result<std::unique_ptr<SealedStore>> create(const SealedStoreOptions& options);
  static Result<std::unique_ptr<SealedStore>> open(const SealedStoreOptions& options);

  Result<void> put(PageIndex page, ConstPageBytes plaintext) override;
  Result<void> get(PageIndex page, PageBytes plaintext) override;
  void forget(PageIndex page) override;

  // Makes what was put so far the state that open() gives. Pages may be put meanwhile.
  Result<void> commit();
  // Seals everything anew under a fresh key, and commits. Other calls wait.
  Result<void> rekey();
  // Gives the medium's free space back to the host.
  void trim();
  // Destroys the salts without which even the partition's key opens nothing, in constant time. The
  // store is closed then.
  Result<void> erase();

  const StoreId& id() const { return scope_.store; }
  std::uint64_t page_count() const { return shape_.page_count(); }
  SealedStoreStats stats();

 private:
  // What a store is made from, new or found on a medium.
  struct Origin {
    SealScope scope;
    TreeShape shape;
    SecretBytes partition_key;
    SuperblockKeys keys;
    std::uint64_t initial_bytes;
  };
  SealedStore(const SealedStoreOptions& options, Origin origin);

  Result<void> prepare(const SealedStoreOptions& options);
  Result<void> start_empty();
  Result<void> load(const VerifiedSuperblock& superblock);
  Result<void> check_usable(PageIndex page) const;
  Result<void> check_writable() const;
  Result<void> set_entry(PageIndex page, const TreeEntry& entry);
  Result<void> seal_page(PageIndex page, ConstPageBytes plaintext);
  Result<void> put_page(PageIndex page, ConstPageBytes plaintext);
  void count_change(const TreeEntry& before, const TreeEntry& after);
  // Runs `action`; when the session's key is spent, once more in a new session.
  template <class F>
  Result<void> in_session(F&& action);
  Result<void> begin_session();
  Result<void> reseal(const std::function<bool(std::size_t)>& session_matches);
  Result<TreeEntry> flush_tree();
  Result<void> commit_locked() REQUIRES(commit_mutex_);
  // Needs the gate alone: the state to be committed.
  Superblock snapshot(const TreeEntry& root) REQUIRES(commit_mutex_);
  Result<void> publish(const Superblock& superblock) REQUIRES(commit_mutex_);
  Result<Sha256Digest> write_superblock(const Superblock& superblock);
  Result<void> finish_anchor() REQUIRES(commit_mutex_);

  Medium& medium_;
  RollbackAnchor* anchor_;
  const SealScope scope_;
  const TreeShape shape_;
  const bool read_only_;
  SuperblockKeys keys_;
  BlockStore blocks_;
  BonsaiTree tree_;
  std::unique_ptr<PageDigests> digests_;  // null: unchanged pages are not noticed
  Gate gate_;  // shared by those who change pages, held alone while a state is taken
  std::atomic<std::uint64_t> sealed_pages_ = 0;
  std::atomic<bool> closed_ = false;  // by erase()
  std::atomic<bool> broken_ = false;  // a commit failed half-way: what the medium holds is unknown
  Mutex commit_mutex_;
  AnchorMark committed_ GUARDED_BY(commit_mutex_);
  TreeEntry committed_root_ GUARDED_BY(commit_mutex_);
  bool anchor_is_behind_ GUARDED_BY(commit_mutex_) = false;
};

}  // namespace bulkhead
