// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_annotations.h"
#include "broker/bytes.h"

struct sqlite3;  // SQLite's connection

namespace bulkhead::broker {

inline constexpr std::size_t kMaxSecretBytes =
    8 * 1024;                                       // keys, which all lie in locked memory here
inline constexpr std::size_t kMaxResources = 4096;  // of one tenant

struct ResourceName {
  std::string tenant;
  std::string name;  // "repository/type/tag"
};

// A resource as it lies on disk: unreadable without the token.
struct SealedResource {
  std::uint64_t version = 0;  // grows with every change of the store, and never comes back
  Bytes wrapped_key;
  Bytes nonce;
  Bytes ciphertext;  // with its tag at the end
};

struct ResourceInfo {
  std::string name;
  std::uint64_t version = 0;
  std::int64_t added_s = 0;  // since 1970
};

// All tenants' resources in one SQLite file. Thread-safe; several processes may use it.
class ResourceStore {
 public:
  // Makes the file if `create`; kNotFound otherwise if there is none.
  static Result<ResourceStore> open(const std::string& path, bool create);

  // A version that nothing has yet.
  Result<std::uint64_t> next_version();
  // Takes the place of an older version, if there is one.
  Result<void> put(const ResourceName& name, const SealedResource& resource);
  Result<std::optional<SealedResource>> get(const ResourceName& name);
  // kNotFound if there is none.
  Result<void> remove(const ResourceName& name);
  // In the order of names.
  Result<std::vector<ResourceInfo>> list(const std::string& tenant);

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  struct State {
    Mutex mutex;
    std::unique_ptr<sqlite3, Close> database GUARDED_BY(mutex);
  };

  explicit ResourceStore(std::unique_ptr<State> state) : state_(std::move(state)) {}

  std::unique_ptr<State> state_;
};

}  // namespace bulkhead::broker
