// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/thread_annotations.h"
#include "seal/block_store.h"
#include "seal/tree_entry.h"

namespace bulkhead {

// The counter tree: which version of each page is the newest, where it lies, and its tag. Nodes are
// sealed blocks like pages, entered in their parents; the root's entry is kept by the owner. What
// is in memory is trusted, so a lookup of a cached node costs no cryptography, and a change only
// marks the node; it is sealed again when it is evicted, or by flush().
//
// prefetch(), find() and replace() are thread-safe. The others need the tree to themselves.
class BonsaiTree {
 public:
  struct Options {
    BlockStore& blocks;  // outlives the tree
    TreeShape shape;
    std::size_t cached_leaves;
  };
  explicit BonsaiTree(const Options& options);
  BonsaiTree(const BonsaiTree&) = delete;
  BonsaiTree& operator=(const BonsaiTree&) = delete;
  ~BonsaiTree();

  // Brings what replace() needs into the processor's cache, while something else is done.
  void prefetch(PageIndex page) const;
  Result<TreeEntry> find(PageIndex page);
  // The entry that was there. On an error nothing has changed.
  Result<TreeEntry> replace(PageIndex page, const TreeEntry& entry);

  // Seals the changed nodes, children first. The root's entry then stands for the whole.
  Result<TreeEntry> flush();
  // Reads and verifies all nodes of a stored tree, and adopts each block into the block store.
  // Returns how many pages there are.
  Result<std::uint64_t> load(const TreeEntry& root);
  // The lowest nodes that exist, by index, after flush().
  std::vector<std::uint64_t> leaves();
  // Makes the nodes that `session_matches` be sealed anew by the next flush(), which must have been
  // called just before. Pages are not touched.
  Result<void> mark_nodes(const std::function<bool(std::size_t)>& session_matches);

 private:
  struct UpperNode {
    TreeNode node;
    bool dirty = false;
  };
  using UpperNodes = std::unordered_map<std::uint64_t, std::unique_ptr<UpperNode>>;
  // A node of level 1. All are in one array, most of which is never touched.
  struct Leaf {
    TreeNode* node;  // null: not in memory
    bool dirty;
    bool recent;  // used since eviction last looked at it
  };
  struct Free {
    void operator()(Leaf* leaves) const { std::free(leaves); }
  };
  // Guards the leaves that fall to it.
  struct alignas(64) Stripe {
    Mutex mutex;
    std::deque<std::uint64_t> cached GUARDED_BY(mutex);  // in the order in which eviction looks
  };
  static constexpr unsigned kStripeBits = 4;
  static constexpr std::size_t kStripes = std::size_t{1} << kStripeBits;

  Stripe& stripe_of(std::uint64_t leaf);
  Result<Leaf*> leaf_at(Stripe& stripe, std::uint64_t index) REQUIRES(stripe.mutex);
  void insert(Stripe& stripe, std::uint64_t index, std::unique_ptr<TreeNode> node)
      REQUIRES(stripe.mutex);
  void drop(std::uint64_t index);
  void evict_one(Stripe& stripe) REQUIRES(stripe.mutex);
  Result<void> write_leaf(std::uint64_t index);
  Result<void> flush_upper(unsigned level);
  Result<TreeEntry> seal_node(unsigned level, std::uint64_t index, const TreeNode& node);

  TreeEntry node_entry(unsigned level, std::uint64_t index) REQUIRES(upper_mutex_);
  TreeEntry set_node_entry(unsigned level, std::uint64_t index, const TreeEntry& entry)
      REQUIRES(upper_mutex_);
  Result<std::uint64_t> load_node(unsigned level, std::uint64_t index, const TreeEntry& entry);
  void keep(unsigned level, std::uint64_t index, const TreeNode& node);

  BlockStore& blocks_;
  const TreeShape shape_;
  const std::size_t leaves_per_stripe_;
  std::unique_ptr<Leaf[], Free> leaves_;
  std::array<Stripe, kStripes> stripes_;
  // Levels 2 and up: 1/128 of the leaves, always in memory. Taken after a stripe's mutex.
  Mutex upper_mutex_;
  std::array<UpperNodes, SealPlace::kMaxLevel + 1> upper_ GUARDED_BY(upper_mutex_);
  TreeEntry root_ GUARDED_BY(upper_mutex_);
};

}  // namespace bulkhead
