// SPDX-License-Identifier: Apache-2.0
#include "boot/unpacked_format.h"

#include <algorithm>

#include "base/byte_reader.h"

namespace bulkhead::boot {
namespace {

// Offsets in the header page.
constexpr std::size_t kMagicAt = 0;
constexpr std::size_t kPayloadBytesAt = 8;
constexpr std::size_t kDigestAt = 16;
constexpr std::size_t kSetupAt = kSetupHeaderOffset;  // where it lies in a bzImage, too

template <class From>
void put(UnpackedHeader::Bytes& page, std::size_t at, const From& from) {
  std::ranges::copy(from, page.begin() + static_cast<std::ptrdiff_t>(at));
}
template <class To>
void get(const UnpackedHeader::Bytes& page, std::size_t at, To& to) {
  std::copy_n(page.begin() + static_cast<std::ptrdiff_t>(at), to.size(), to.begin());
}

}  // namespace

UnpackedHeader::Bytes UnpackedHeader::encode() const {
  Bytes page{};
  put(page, kMagicAt, kUnpackedMagic);
  put_le(std::span(page), kPayloadBytesAt, payload_bytes);
  put(page, kDigestAt, payload_digest);
  put(page, kSetupAt, setup);
  return page;
}

Result<UnpackedHeader> UnpackedHeader::parse(const FileReader& file) {
  Bytes page;
  TRY(file.read(0, page));
  if (!std::equal(kUnpackedMagic.begin(), kUnpackedMagic.end(), page.begin())) {
    return Error{Errc::kMalformed, 0, "not an unpacked kernel"};
  }
  UnpackedHeader header;
  header.payload_bytes = get_le<std::uint64_t>(page, kPayloadBytesAt);
  get(page, kDigestAt, header.payload_digest);
  get(page, kSetupAt, header.setup);
  if (header.payload_bytes != file.size() - kUnpackedHeaderBytes) {
    return Error{Errc::kTruncated, 0, "the unpacked kernel does not have the size it tells"};
  }
  return header;
}

Result<UnpackedKernel> UnpackedKernel::parse(const FileReader& file) {
  const UnpackedHeader header = TRY(UnpackedHeader::parse(file));
  UnpackedKernel kernel;
  kernel.bzimage = TRY(BzImage::parse_header(header.setup));
  kernel.elf = TRY(ElfImage::parse(TRY(file.from(kUnpackedHeaderBytes))));
  if (kernel.elf.low() != kernel.bzimage.pref_address) {
    return Error{Errc::kMalformed, 0, "the unpacked kernel is not linked for its load address"};
  }
  return kernel;
}

}  // namespace bulkhead::boot
