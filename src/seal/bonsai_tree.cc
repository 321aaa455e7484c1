// SPDX-License-Identifier: Apache-2.0
#include "seal/bonsai_tree.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <utility>

namespace bulkhead {

BonsaiTree::BonsaiTree(const Options& options)
    : blocks_(options.blocks),
      shape_(options.shape),
      leaves_per_stripe_(std::max<std::size_t>(options.cached_leaves / kStripes, 1)),
      leaves_(static_cast<Leaf*>(std::calloc(options.shape.node_count(1), sizeof(Leaf)))) {
  CHECK(leaves_ != nullptr);
}

BonsaiTree::~BonsaiTree() {
  for (Stripe& stripe : stripes_) {
    const MutexLock lock(stripe.mutex);
    for (std::uint64_t index : stripe.cached) drop(index);
  }
}

TreeEntry BonsaiTree::node_entry(unsigned level, std::uint64_t index) {
  if (level == shape_.top()) return root_;
  const auto parent = upper_[level + 1].find(index / kTreeFanout);
  if (parent == upper_[level + 1].end()) return {};
  return parent->second->node.entries[index % kTreeFanout];
}

TreeEntry BonsaiTree::set_node_entry(unsigned level, std::uint64_t index, const TreeEntry& entry) {
  if (level == shape_.top()) return std::exchange(root_, entry);
  std::unique_ptr<UpperNode>& parent = upper_[level + 1][index / kTreeFanout];
  if (parent == nullptr) parent = std::make_unique<UpperNode>();
  parent->dirty = true;
  return std::exchange(parent->node.entries[index % kTreeFanout], entry);
}

Result<TreeEntry> BonsaiTree::seal_node(unsigned level, std::uint64_t index, const TreeNode& node) {
  if (node.empty()) return TreeEntry();
  return blocks_.write(SealPlace::node(level, index), node.bytes());
}

// Scattered, so that threads at work on different parts of the store rarely meet in one.
BonsaiTree::Stripe& BonsaiTree::stripe_of(std::uint64_t leaf) {
  constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15;
  return stripes_[leaf * kGolden >> (64 - kStripeBits)];
}

void BonsaiTree::insert(Stripe& stripe, std::uint64_t index, std::unique_ptr<TreeNode> node) {
  stripe.cached.push_back(index);
  Leaf& leaf = leaves_[index];
  leaf.dirty = false;
  leaf.recent = false;
  std::atomic_ref(leaf.node).store(node.release(), std::memory_order_relaxed);
}

void BonsaiTree::drop(std::uint64_t index) {
  const std::unique_ptr<TreeNode> dropped(leaves_[index].node);
  std::atomic_ref(leaves_[index].node).store(nullptr, std::memory_order_relaxed);
}

Result<void> BonsaiTree::write_leaf(std::uint64_t index) {
  Leaf& leaf = leaves_[index];
  const TreeEntry entry = TRY(seal_node(1, index, *leaf.node));
  leaf.dirty = false;
  const MutexLock lock(upper_mutex_);
  blocks_.replaced(set_node_entry(1, index, entry), entry);
  return {};
}

// Second chance: the first in order that was not used since it was looked at last. A node that
// cannot be written (the medium is full) stays, and the cache is larger than asked for until it
// can.
void BonsaiTree::evict_one(Stripe& stripe) {
  for (std::size_t tries = 2 * stripe.cached.size(); tries > 0; --tries) {
    const std::uint64_t index = stripe.cached.front();
    stripe.cached.pop_front();
    Leaf& leaf = leaves_[index];
    const bool keep = std::exchange(leaf.recent, false) || (leaf.dirty && !write_leaf(index));
    if (!keep) {
      drop(index);
      return;
    }
    stripe.cached.push_back(index);
  }
}

Result<BonsaiTree::Leaf*> BonsaiTree::leaf_at(Stripe& stripe, std::uint64_t index) {
  Leaf& leaf = leaves_[index];
  if (leaf.node != nullptr) {
    leaf.recent = true;
    return &leaf;
  }
  TreeEntry entry;
  {
    const MutexLock lock(upper_mutex_);
    entry = node_entry(1, index);
  }
  auto node = std::make_unique<TreeNode>();
  if (!entry.absent()) TRY(blocks_.read(SealPlace::node(1, index), entry, node->bytes()));
  if (stripe.cached.size() >= leaves_per_stripe_) evict_one(stripe);
  insert(stripe, index, std::move(node));
  return &leaf;
}

void BonsaiTree::prefetch(PageIndex page) const {
  // Without the lock: the node may go away meanwhile, but its address does no harm.
  TreeNode*& place = leaves_[page.value() / kTreeFanout].node;
  const TreeNode* node = std::atomic_ref(place).load(std::memory_order_relaxed);
  const auto entry =
      std::bit_cast<std::uintptr_t>(node) + page.value() % kTreeFanout * sizeof(TreeEntry);
  if (node != nullptr) __builtin_prefetch(std::bit_cast<const void*>(entry), 1);
}

Result<TreeEntry> BonsaiTree::find(PageIndex page) {
  const std::uint64_t index = page.value() / kTreeFanout;
  Stripe& stripe = stripe_of(index);
  const MutexLock lock(stripe.mutex);
  const Leaf* leaf = TRY(leaf_at(stripe, index));
  return leaf->node->entries[page.value() % kTreeFanout];
}

Result<TreeEntry> BonsaiTree::replace(PageIndex page, const TreeEntry& entry) {
  const std::uint64_t index = page.value() / kTreeFanout;
  Stripe& stripe = stripe_of(index);
  const MutexLock lock(stripe.mutex);
  Leaf* leaf = TRY(leaf_at(stripe, index));
  TreeEntry& place = leaf->node->entries[page.value() % kTreeFanout];
  if (place.absent() && entry.absent()) return TreeEntry();
  leaf->dirty = true;
  return std::exchange(place, entry);
}

Result<void> BonsaiTree::flush_upper(unsigned level) {
  const MutexLock lock(upper_mutex_);
  for (auto& [index, cached] : upper_[level]) {
    if (!cached->dirty) continue;
    const TreeEntry entry = TRY(seal_node(level, index, cached->node));
    cached->dirty = false;
    blocks_.replaced(set_node_entry(level, index, entry), entry);
  }
  return {};
}

Result<TreeEntry> BonsaiTree::flush() {
  for (Stripe& stripe : stripes_) {
    const MutexLock lock(stripe.mutex);
    for (std::uint64_t index : stripe.cached) {
      if (leaves_[index].dirty) TRY(write_leaf(index));
    }
  }
  for (unsigned level = 2; level <= shape_.top(); ++level) TRY(flush_upper(level));
  const MutexLock lock(upper_mutex_);
  return root_;
}

void BonsaiTree::keep(unsigned level, std::uint64_t index, const TreeNode& node) {
  if (level > 1) {
    const MutexLock lock(upper_mutex_);
    upper_[level].emplace(index, std::make_unique<UpperNode>(node));
    return;
  }
  Stripe& stripe = stripe_of(index);
  const MutexLock lock(stripe.mutex);
  if (stripe.cached.size() < leaves_per_stripe_) {
    insert(stripe, index, std::make_unique<TreeNode>(node));
  }
}

// Recurses at most seven deep: the level falls with every call.
Result<std::uint64_t> BonsaiTree::load_node(unsigned level, std::uint64_t index,
                                            const TreeEntry& entry) {
  // The place is taken before it is read: a block that is named twice is read once at most.
  TRY(blocks_.adopt(entry));
  if (level == 0) return 1;
  TreeNode loaded;
  TRY(blocks_.read(SealPlace::node(level, index), entry, loaded.bytes()));
  std::uint64_t pages = 0;
  for (std::uint64_t i = 0; i < kTreeFanout; ++i) {
    const TreeEntry& child = loaded.entries[i];
    if (child == TreeEntry()) continue;
    const std::uint64_t child_index = index * kTreeFanout + i;
    if (child_index >= shape_.node_count(level - 1)) {
      return Error{Errc::kMalformed, 0, "the store has more pages than it should"};
    }
    pages += TRY(load_node(level - 1, child_index, child));
  }
  keep(level, index, loaded);
  return pages;
}

Result<std::uint64_t> BonsaiTree::load(const TreeEntry& root) {
  {
    const MutexLock lock(upper_mutex_);
    root_ = root;
  }
  if (root == TreeEntry()) return std::uint64_t{0};
  return load_node(shape_.top(), 0, root);
}

std::vector<std::uint64_t> BonsaiTree::leaves() {
  const MutexLock lock(upper_mutex_);
  std::vector<std::uint64_t> found;
  if (shape_.top() == 1) {
    if (!root_.absent()) found.push_back(0);
    return found;
  }
  for (const auto& [index, cached] : upper_[2]) {
    for (std::uint64_t i = 0; i < kTreeFanout; ++i) {
      if (!cached->node.entries[i].absent()) found.push_back(index * kTreeFanout + i);
    }
  }
  std::ranges::sort(found);
  return found;
}

Result<void> BonsaiTree::mark_nodes(const std::function<bool(std::size_t)>& session_matches) {
  for (std::uint64_t leaf : leaves()) {
    TreeEntry entry;
    {
      const MutexLock lock(upper_mutex_);
      entry = node_entry(1, leaf);
    }
    if (!session_matches(entry.session())) continue;
    Stripe& stripe = stripe_of(leaf);
    const MutexLock lock(stripe.mutex);
    TRY(leaf_at(stripe, leaf))->dirty = true;
  }
  const MutexLock lock(upper_mutex_);
  for (unsigned level = 2; level <= shape_.top(); ++level) {
    for (auto& [index, cached] : upper_[level]) {
      const TreeEntry entry = node_entry(level, index);
      cached->dirty |= !entry.absent() && session_matches(entry.session());
    }
  }
  return {};
}

}  // namespace bulkhead
