// SPDX-License-Identifier: Apache-2.0
#include "seal/bonsai_tree.h"

#include <algorithm>
#include <utility>

namespace bulkhead {

BonsaiTree::BonsaiTree(const Options& options)
    : blocks_(options.blocks),
      shape_(options.shape),
      leaves_per_stripe_(std::max<std::size_t>(options.cached_leaves / kStripes, 1)) {}

TreeEntry BonsaiTree::node_entry(unsigned level, std::uint64_t index) {
  if (level == shape_.top()) return root_;
  const auto parent = upper_[level + 1].find(index / kTreeFanout);
  if (parent == upper_[level + 1].end()) return {};
  return parent->second->node.entries[index % kTreeFanout];
}

TreeEntry BonsaiTree::set_node_entry(unsigned level, std::uint64_t index, const TreeEntry& entry) {
  if (level == shape_.top()) return std::exchange(root_, entry);
  std::unique_ptr<CachedNode>& parent = upper_[level + 1][index / kTreeFanout];
  if (parent == nullptr) parent = std::make_unique<CachedNode>();
  parent->dirty = true;
  return std::exchange(parent->node.entries[index % kTreeFanout], entry);
}

Result<TreeEntry> BonsaiTree::seal_node(unsigned level, std::uint64_t index, const TreeNode& node) {
  if (node.empty()) return TreeEntry();
  return blocks_.write(SealPlace::node(level, index), node.bytes());
}

BonsaiTree::CachedNode* BonsaiTree::insert(Stripe& stripe, std::uint64_t leaf,
                                           std::unique_ptr<CachedNode> node) {
  CachedNode* inserted = node.get();
  stripe.nodes.emplace(leaf, std::move(node));
  stripe.order.push_back(leaf);
  return inserted;
}

Result<void> BonsaiTree::write_leaf(std::uint64_t leaf, CachedNode& node) {
  const TreeEntry entry = TRY(seal_node(1, leaf, node.node));
  node.dirty = false;
  const MutexLock lock(upper_mutex_);
  blocks_.release(set_node_entry(1, leaf, entry));
  return {};
}

// Second chance: the first in order that was not used since it was looked at last. A node that
// cannot be written (the medium is full) stays, and the cache is larger than asked for until it
// can.
void BonsaiTree::evict_one(Stripe& stripe) {
  for (std::size_t tries = 2 * stripe.order.size(); tries > 0; --tries) {
    const std::uint64_t leaf = stripe.order.front();
    stripe.order.pop_front();
    CachedNode& node = *stripe.nodes.at(leaf);
    const bool keep = std::exchange(node.recent, false) || (node.dirty && !write_leaf(leaf, node));
    if (!keep) {
      stripe.nodes.erase(leaf);
      return;
    }
    stripe.order.push_back(leaf);
  }
}

Result<BonsaiTree::CachedNode*> BonsaiTree::leaf_at(Stripe& stripe, std::uint64_t leaf) {
  if (const auto cached = stripe.nodes.find(leaf); cached != stripe.nodes.end()) {
    cached->second->recent = true;
    return cached->second.get();
  }
  TreeEntry entry;
  {
    const MutexLock lock(upper_mutex_);
    entry = node_entry(1, leaf);
  }
  auto node = std::make_unique<CachedNode>();
  if (!entry.absent()) {
    TRY(blocks_.read(SealPlace::node(1, leaf), entry, node->node.bytes()));
  }
  if (stripe.nodes.size() >= leaves_per_stripe_) evict_one(stripe);
  return insert(stripe, leaf, std::move(node));
}

Result<TreeEntry> BonsaiTree::find(PageIndex page) {
  const std::uint64_t leaf = page.value() / kTreeFanout;
  Stripe& stripe = stripe_of(leaf);
  const MutexLock lock(stripe.mutex);
  const CachedNode* node = TRY(leaf_at(stripe, leaf));
  return node->node.entries[page.value() % kTreeFanout];
}

Result<TreeEntry> BonsaiTree::replace(PageIndex page, const TreeEntry& entry) {
  const std::uint64_t leaf = page.value() / kTreeFanout;
  Stripe& stripe = stripe_of(leaf);
  const MutexLock lock(stripe.mutex);
  CachedNode* node = TRY(leaf_at(stripe, leaf));
  TreeEntry& place = node->node.entries[page.value() % kTreeFanout];
  if (place.absent() && entry.absent()) return TreeEntry();
  node->dirty = true;
  return std::exchange(place, entry);
}

Result<void> BonsaiTree::flush_upper(unsigned level) {
  const MutexLock lock(upper_mutex_);
  for (auto& [index, cached] : upper_[level]) {
    if (!cached->dirty) continue;
    const TreeEntry entry = TRY(seal_node(level, index, cached->node));
    cached->dirty = false;
    blocks_.release(set_node_entry(level, index, entry));
  }
  return {};
}

Result<TreeEntry> BonsaiTree::flush() {
  for (Stripe& stripe : stripes_) {
    const MutexLock lock(stripe.mutex);
    for (auto& [leaf, cached] : stripe.nodes) {
      if (cached->dirty) TRY(write_leaf(leaf, *cached));
    }
  }
  for (unsigned level = 2; level <= shape_.top(); ++level) TRY(flush_upper(level));
  const MutexLock lock(upper_mutex_);
  return root_;
}

void BonsaiTree::keep(unsigned level, std::uint64_t index, std::unique_ptr<CachedNode> node) {
  if (level > 1) {
    const MutexLock lock(upper_mutex_);
    upper_[level].emplace(index, std::move(node));
    return;
  }
  Stripe& stripe = stripe_of(index);
  const MutexLock lock(stripe.mutex);
  if (stripe.nodes.size() < leaves_per_stripe_) insert(stripe, index, std::move(node));
}

// Recurses at most seven deep: the level falls with every call.
Result<std::uint64_t> BonsaiTree::load_node(unsigned level, std::uint64_t index,
                                            const TreeEntry& entry) {
  // The place is taken before it is read: a block that is named twice is read once at most.
  TRY(blocks_.adopt(entry));
  if (level == 0) return 1;
  auto loaded = std::make_unique<CachedNode>();
  TRY(blocks_.read(SealPlace::node(level, index), entry, loaded->node.bytes()));
  std::uint64_t pages = 0;
  for (std::uint64_t i = 0; i < kTreeFanout; ++i) {
    const TreeEntry& child = loaded->node.entries[i];
    if (child == TreeEntry()) continue;
    const std::uint64_t child_index = index * kTreeFanout + i;
    if (child_index >= shape_.node_count(level - 1)) {
      return Error{Errc::kMalformed, 0, "the store has more pages than it should"};
    }
    pages += TRY(load_node(level - 1, child_index, child));
  }
  keep(level, index, std::move(loaded));
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
    CachedNode* node = TRY(leaf_at(stripe, leaf));
    node->dirty = true;
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
