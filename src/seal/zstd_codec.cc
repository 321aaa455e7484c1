// SPDX-License-Identifier: Apache-2.0
#include "seal/zstd_codec.h"

// A context in memory of ours is part of the interface that is stable in a static library only; the
// shared ones of libzstd 1 have it, too.
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include <memory>

#include "crypto/secret_bytes.h"

namespace bulkhead {
namespace {

constexpr int kLevel = 1;

// The memory of one context, which keeps copies of a page's literals: wiped at the end.
class Workspace {
 public:
  explicit Workspace(std::size_t size_bytes)
      : size_(size_bytes), bytes_(std::make_unique_for_overwrite<std::byte[]>(size_bytes)) {}
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace() { wipe({bytes_.get(), size_}); }

  std::byte* data() { return bytes_.get(); }
  std::size_t size() const { return size_; }

 private:
  std::size_t size_;
  std::unique_ptr<std::byte[]> bytes_;
};

}  // namespace

std::size_t ZstdCodec::pack(ConstPageBytes page, std::span<std::byte> packed) {
  Workspace workspace(ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(kLevel, page.size(), 0)));
  ZSTD_CCtx* context = ZSTD_initStaticCCtx(workspace.data(), workspace.size());
  CHECK(context != nullptr);
  const std::size_t length =
      ZSTD_compressCCtx(context, packed.data(), packed.size(), page.data(), page.size(), kLevel);
  return ZSTD_isError(length) != 0 ? 0 : length;
}

Result<void> ZstdCodec::unpack(std::span<const std::byte> packed, PageBytes page) {
  Workspace workspace(ZSTD_estimateDCtxSize());
  ZSTD_DCtx* context = ZSTD_initStaticDCtx(workspace.data(), workspace.size());
  CHECK(context != nullptr);
  const std::size_t length =
      ZSTD_decompressDCtx(context, page.data(), page.size(), packed.data(), packed.size());
  if (ZSTD_isError(length) == 0 && length == page.size()) return {};
  return Error{Errc::kMalformed, 0, "a compressed page is not one page"};
}

}  // namespace bulkhead
