// SPDX-License-Identifier: Apache-2.0
#include "seal/sealed_store.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "seal/store_finder.h"

namespace bulkhead {
namespace {

bool is_zero(ConstPageBytes page) {
  constexpr std::size_t kStep = 64;
  for (std::size_t at = 0; at < kPageSize; at += kStep) {
    std::array<std::uint64_t, kStep / sizeof(std::uint64_t)> words;
    std::memcpy(words.data(), page.data() + at, kStep);
    std::uint64_t any = 0;
    for (std::uint64_t word : words) any |= word;
    if (any != 0) return false;
  }
  return true;
}

Error closed() {
  return Error{Errc::kClosed, 0, "the store was erased"};
}

}  // namespace

SealedStore::SealedStore(const SealedStoreOptions& options, Origin origin)
    : medium_(options.medium),
      anchor_(options.anchor),
      scope_(origin.scope),
      shape_(origin.shape),
      read_only_(options.read_only),
      keys_(std::move(origin.keys)),
      blocks_({.medium = options.medium,
               .codec = options.codec,
               .reserved_bytes = kSuperblocksBytes,
               .initial_bytes = origin.initial_bytes,
               .sessions = {.partition_key = std::move(origin.partition_key),
                            .scope = origin.scope,
                            .max_uses = options.session_uses}}),
      tree_({.blocks = blocks_, .shape = origin.shape, .cached_leaves = options.cached_nodes}) {}

Result<std::unique_ptr<SealedStore>> SealedStore::create(const SealedStoreOptions& options) {
  if (options.page_count == 0 || options.page_count > TreeShape::kMaxPages) {
    return Error{Errc::kInvalidArgument, 0, "a store has 1 to 2^35 pages"};
  }
  if (holds_a_store(options.medium)) {
    return Error{Errc::kExists, 0, "there is a store of sealed pages already"};
  }
  SecretBytes key = TRY(options.key.key());
  const SealScope scope{options.purpose, TRY(StoreId::random())};
  SuperblockKeys keys = TRY(SuperblockKeys::derive(key, scope));
  std::unique_ptr<SealedStore> store(
      new SealedStore(options, {.scope = scope,
                                .shape = TreeShape(options.page_count),
                                .partition_key = std::move(key),
                                .keys = std::move(keys),
                                .initial_bytes = kSuperblocksBytes}));
  TRY(store->prepare(options));
  TRY(store->start_empty());
  return store;
}

Result<void> SealedStore::prepare(const SealedStoreOptions& options) {
  if (options.notice_unchanged) digests_ = TRY(PageDigests::create(page_count()));
  return {};
}

Result<void> SealedStore::start_empty() {
  const MutexLock lock(commit_mutex_);
  TRY(medium_.grow(blocks_.slots().units() * kSlotUnit));
  TRY(medium_.write_at(superblock_offset(0), std::array<std::byte, Superblock::kBytes>{}));
  TRY(blocks_.sessions().begin());
  return publish(snapshot(TreeEntry()));
}

Result<std::unique_ptr<SealedStore>> SealedStore::open(const SealedStoreOptions& options) {
  SecretBytes key = TRY(options.key.key());
  FoundStore found = TRY(find_store(options, key));
  const Superblock& content = found.superblock.content;
  if (options.page_count != 0 && options.page_count != content.page_count) {
    return Error{Errc::kInvalidArgument, 0, "the store has another number of pages"};
  }
  if (options.medium.size() < content.end_bytes) {
    return Error{Errc::kTruncated, 0, "the store's end is missing"};
  }
  std::unique_ptr<SealedStore> store(
      new SealedStore(options, {.scope = found.scope,
                                .shape = TreeShape(content.page_count),
                                .partition_key = std::move(key),
                                .keys = std::move(found.keys),
                                .initial_bytes = content.end_bytes}));
  TRY(store->load(found.superblock));
  TRY(store->prepare(options));
  if (!options.read_only) TRY(store->begin_session());
  return store;
}

Result<void> SealedStore::load(const VerifiedSuperblock& superblock) {
  const MutexLock lock(commit_mutex_);
  const Superblock& content = superblock.content;
  committed_ = {.generation = content.generation, .tag = superblock.tag};
  committed_root_ = content.root;
  // Before the tree is walked: a state that was rolled back is not worth a look.
  if (anchor_ != nullptr) {
    anchor_is_behind_ = TRY(check_anchor(committed_, TRY(anchor_->newest(scope_.store))));
  }
  TRY(blocks_.sessions().load(content.sessions));
  sealed_pages_ = TRY(tree_.load(content.root));
  for (std::size_t i = 0; i < kMaxSessions; ++i) {
    if (blocks_.sessions().live(i) != content.sessions[i].live) {
      return Error{Errc::kMalformed, 0, "the store's table of sessions does not add up"};
    }
  }
  blocks_.slots().begin_commit();
  blocks_.slots().end_commit();
  if (read_only_) return {};
  return finish_anchor();
}

Result<void> SealedStore::check_usable(PageIndex page) const {
  if (page.value() >= shape_.page_count()) {
    return Error{Errc::kOutOfRange, 0, "the store has no such page"};
  }
  if (closed_.load(std::memory_order_relaxed)) return closed();
  return {};
}

Result<void> SealedStore::check_writable() const {
  if (read_only_) return Error{Errc::kPermission, 0, "the store was opened for reading"};
  if (closed_.load(std::memory_order_relaxed)) return closed();
  if (broken_.load(std::memory_order_relaxed)) {
    return Error{Errc::kIo, 0, "an earlier commit failed: reopen the store"};
  }
  return {};
}

void SealedStore::count_change(const TreeEntry& before, const TreeEntry& after) {
  if (before.absent() && !after.absent()) sealed_pages_.fetch_add(1, std::memory_order_relaxed);
  if (!before.absent() && after.absent()) sealed_pages_.fetch_sub(1, std::memory_order_relaxed);
}

// `entry`, just written or absent, is what the page is from now on.
Result<void> SealedStore::set_entry(PageIndex page, const TreeEntry& entry) {
  const auto before = tree_.replace(page, entry);
  if (!before) {
    blocks_.discard(entry);
    return before.error();
  }
  blocks_.replaced(*before, entry);
  count_change(*before, entry);
  return {};
}

Result<void> SealedStore::seal_page(PageIndex page, ConstPageBytes plaintext) {
  tree_.prefetch(page);
  return set_entry(page, TRY(blocks_.write(SealPlace::page(page), plaintext)));
}

Result<void> SealedStore::put_page(PageIndex page, ConstPageBytes plaintext) {
  if (is_zero(plaintext)) {
    if (digests_ != nullptr) digests_->clear(page);
    return set_entry(page, TreeEntry());
  }
  if (digests_ == nullptr) return seal_page(page, plaintext);
  const PageDigests::Digest digest = TRY(digests_->of(page, plaintext));
  if (digests_->same(page, digest)) return {};
  TRY(seal_page(page, plaintext));
  digests_->set(page, digest);
  return {};
}

template <class F>
Result<void> SealedStore::in_session(F&& action) {
  {
    const Gate::Shared shared(gate_);
    TRY(check_writable());
    const Result<void> done = action();
    if (done || done.error().code != Errc::kExhausted || !blocks_.sessions().spent()) return done;
  }
  const Gate::Exclusive alone(gate_);
  TRY(check_writable());
  if (blocks_.sessions().spent()) TRY(begin_session());
  return action();
}

Result<void> SealedStore::put(PageIndex page, ConstPageBytes plaintext) {
  TRY(check_usable(page));
  return in_session([&] { return put_page(page, plaintext); });
}

Result<void> SealedStore::get(PageIndex page, PageBytes plaintext) {
  const Gate::Shared shared(gate_);
  TRY(check_usable(page));
  const TreeEntry entry = TRY(tree_.find(page));
  if (!entry.absent()) return blocks_.read(SealPlace::page(page), entry, plaintext);
  std::ranges::fill(plaintext, std::byte{0});
  return {};
}

void SealedStore::forget(PageIndex page) {
  if (!check_usable(page)) return;
  const Gate::Shared shared(gate_);
  if (!check_writable()) return;
  if (digests_ != nullptr) digests_->clear(page);
  (void)set_entry(page, TreeEntry());  // fails only where get() fails too: the node is damaged
}

Result<void> SealedStore::begin_session() {
  SessionTable& sessions = blocks_.sessions();
  sessions.drop_unused();
  TRY(sessions.begin());
  if (!sessions.full()) return {};
  // One record has to be free for the next session.
  const std::size_t smallest = sessions.smallest();
  const auto done = reseal([smallest](std::size_t session) { return session == smallest; });
  sessions.drop_unused();
  // If there was no space, the next session may find some.
  return done || done.error().code == Errc::kExhausted ? Result<void>() : done;
}

Result<void> SealedStore::reseal(const std::function<bool(std::size_t)>& session_matches) {
  TRY(tree_.flush());
  std::array<std::byte, kPageSize> plaintext;
  Result<void> done;
  const auto reseal_page = [&](PageIndex page) -> Result<void> {
    const TreeEntry entry = TRY(tree_.find(page));
    if (entry.absent() || !session_matches(entry.session())) return {};
    TRY(blocks_.read(SealPlace::page(page), entry, plaintext));
    return seal_page(page, plaintext);
  };
  for (std::uint64_t leaf : tree_.leaves()) {
    for (std::uint64_t i = 0; i < kTreeFanout && done; ++i) {
      done = reseal_page(PageIndex(leaf * kTreeFanout + i));
    }
  }
  wipe(plaintext);
  TRY(done);
  TRY(tree_.flush());
  TRY(tree_.mark_nodes(session_matches));
  TRY(tree_.flush());
  return {};
}

Result<TreeEntry> SealedStore::flush_tree() {
  auto root = tree_.flush();
  if (root || root.error().code != Errc::kExhausted || !blocks_.sessions().spent()) return root;
  TRY(begin_session());
  return tree_.flush();
}

Superblock SealedStore::snapshot(const TreeEntry& root) {
  blocks_.sessions().drop_unused();
  blocks_.slots().begin_commit();
  return {.page_count = shape_.page_count(),
          .generation = committed_.generation + 1,
          .end_bytes = blocks_.slots().end_unit() * kSlotUnit,
          .root = root,
          .sessions = blocks_.sessions().records()};
}

Result<Sha256Digest> SealedStore::write_superblock(const Superblock& superblock) {
  const auto bytes = std::make_unique<SuperblockBytes>();
  const Sha256Digest tag = TRY(encode_superblock(superblock, scope_, keys_, *bytes));
  // Blocks first: a superblock must not last longer than what it stands for.
  TRY(medium_.sync());
  TRY(medium_.write_at(superblock_offset(superblock.generation), *bytes));
  TRY(medium_.sync());
  return tag;
}

Result<void> SealedStore::publish(const Superblock& superblock) {
  const auto tag = write_superblock(superblock);
  if (!tag) {
    // Linux forgets what a failed sync did not write: a later one would succeed without it.
    broken_ = true;
    return tag.error();
  }
  blocks_.slots().end_commit();
  committed_ = {.generation = superblock.generation, .tag = *tag};
  committed_root_ = superblock.root;
  anchor_is_behind_ = anchor_ != nullptr;
  return finish_anchor();
}

Result<void> SealedStore::finish_anchor() {
  if (!anchor_is_behind_) return {};
  TRY(anchor_->advance(scope_.store, committed_));
  anchor_is_behind_ = false;
  return {};
}

Result<void> SealedStore::commit_locked() {
  TRY(finish_anchor());
  Superblock next;
  {
    const Gate::Exclusive alone(gate_);
    TRY(check_writable());
    const TreeEntry root = TRY(flush_tree());
    if (root == committed_root_) return {};
    next = snapshot(root);
  }
  return publish(next);
}

Result<void> SealedStore::commit() {
  const MutexLock lock(commit_mutex_);
  TRY(check_writable());
  return commit_locked();
}

Result<void> SealedStore::rekey() {
  const MutexLock lock(commit_mutex_);
  TRY(check_writable());
  {
    const Gate::Exclusive alone(gate_);
    TRY(begin_session());
    // Should this session be spent before all is sealed, the error says so; what was done counts.
    const std::size_t current = blocks_.sessions().current();
    TRY(reseal([current](std::size_t session) { return session != current; }));
  }
  return commit_locked();
}

void SealedStore::trim() {
  const Gate::Exclusive alone(gate_);
  blocks_.trim();
}

Result<void> SealedStore::erase() {
  const MutexLock lock(commit_mutex_);
  const Gate::Exclusive alone(gate_);
  if (read_only_) return Error{Errc::kPermission, 0, "the store was opened for reading"};
  closed_ = true;
  blocks_.sessions().wipe();
  digests_.reset();
  const std::array<std::byte, Superblock::kBytes> nothing{};
  // Both, even if one fails.
  const auto even = medium_.write_at(superblock_offset(0), nothing);
  const auto odd = medium_.write_at(superblock_offset(1), nothing);
  const auto synced = medium_.sync();
  TRY(even);
  TRY(odd);
  TRY(synced);
  if (anchor_ != nullptr) TRY(anchor_->forget(scope_.store));
  return {};
}

SealedStoreStats SealedStore::stats() {
  const MutexLock lock(commit_mutex_);
  const Gate::Shared shared(gate_);
  return {.page_count = shape_.page_count(),
          .sealed_pages = sealed_pages_.load(std::memory_order_relaxed),
          .stored_bytes = blocks_.slots().used_units() * kSlotUnit,
          .generation = committed_.generation,
          .sessions = blocks_.sessions().in_use()};
}

}  // namespace bulkhead
