// SPDX-License-Identifier: Apache-2.0
#include "boot/unpack/kernel_cache.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/address.h"
#include "base/log.h"
#include "boot/bzimage.h"
#include "boot/unpack/cache_directory.h"
#include "boot/unpack/helper_process.h"
#include "boot/unpacked_format.h"
#include "crypto/digest.h"

namespace bulkhead::boot {
namespace {

constexpr std::string_view kKernelSuffix = ".kernel";
constexpr std::string_view kIndexSuffix = ".index";
constexpr std::size_t kKernelsKept = 8;
constexpr std::size_t kIndexEntriesKept = 64;
constexpr std::size_t kHashChunkBytes = 256 * kKiB;

// "The bzImage with this stamp has this digest, and its unpacked form, with that stamp, was whole."
struct IndexEntry {
  std::array<char, 8> magic{'B', 'L', 'K', 'H', 'I', 'D', 'X', '1'};
  FileStamp source;
  Sha256Digest source_digest{};
  FileStamp unpacked;
};
static_assert(sizeof(IndexEntry) == 8 + 40 + 32 + 40);

Result<Sha256Digest> hash_file(const FileReader& file) {
  Sha256 sha = TRY(Sha256::create());
  std::vector<std::byte> buffer(kHashChunkBytes);
  for (std::uint64_t at = 0; at < file.size(); at += buffer.size()) {
    const auto piece =
        std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), file.size() - at));
    TRY(file.read(at, piece));
    TRY(sha.update(piece));
  }
  return std::move(sha).finish();
}

// One look-up of one bzImage.
class Lookup {
 public:
  Lookup(const CacheDirectory& directory, int bzimage_fd, const FileStamp& stamp)
      : directory_(directory),
        bzimage_fd_(bzimage_fd),
        stamp_(stamp),
        index_name_(std::to_string(stamp.device)
                        .append("-")
                        .append(std::to_string(stamp.inode))
                        .append(kIndexSuffix)) {}

  // Both files are as the index remembers them.
  Result<Fd> recall() const;
  // The cached file is whole, as its digest shows.
  Result<Fd> verify(const Sha256Digest& digest) const;
  Result<void> build(const Sha256Digest& digest, const std::string& helper_path) const;
  void remember(const Sha256Digest& digest, int unpacked_fd) const;

 private:
  static std::string kernel_name(const Sha256Digest& digest) {
    return to_hex(digest).append(kKernelSuffix);
  }

  const CacheDirectory& directory_;
  int bzimage_fd_;
  FileStamp stamp_;
  std::string index_name_;
};

Result<Fd> Lookup::recall() const {
  const Fd index = TRY(directory_.open_file(index_name_));
  IndexEntry entry;
  TRY(TRY(FileReader::create(index.get())).read(0, std::as_writable_bytes(std::span(&entry, 1))));
  if (entry.magic != IndexEntry{}.magic || entry.source != stamp_) {
    return Error{Errc::kNotFound, 0, "the index entry is about another state of the kernel"};
  }
  Fd unpacked = TRY(directory_.open_file(kernel_name(entry.source_digest)));
  if (entry.unpacked != TRY(FileStamp::of(unpacked.get()))) {
    return Error{Errc::kNotFound, 0, "the unpacked kernel was touched since it was verified"};
  }
  return unpacked;
}

Result<Fd> Lookup::verify(const Sha256Digest& digest) const {
  Fd fd = TRY(directory_.open_file(kernel_name(digest)));
  const FileReader file = TRY(FileReader::create(fd.get()));
  const UnpackedHeader header = TRY(UnpackedHeader::parse(file));
  const Sha256Digest found = TRY(hash_file(TRY(file.from(kUnpackedHeaderBytes))));
  if (found != header.payload_digest) {
    return Error{Errc::kMalformed, 0, "the unpacked kernel in the cache is damaged"};
  }
  TRY(UnpackedKernel::parse(file));
  return fd;
}

Result<void> Lookup::build(const Sha256Digest& digest, const std::string& helper_path) const {
  directory_.prune(kKernelSuffix, kKernelsKept - 1);
  directory_.prune(kIndexSuffix, kIndexEntriesKept - 1);
  const BzImage image = TRY(BzImage::parse(TRY(FileReader::create(bzimage_fd_))));
  auto output = TRY(directory_.create_file());
  if (::lseek(output.fd(), kUnpackedHeaderBytes, SEEK_SET) < 0) {
    return os_error("cannot write to the kernel cache");
  }
  TRY(run_unpack_helper(helper_path, bzimage_fd_, image, output.fd()));
  const FileReader file = TRY(FileReader::create(output.fd()));
  UnpackedHeader header;
  header.setup = image.header;
  const FileReader payload = TRY(file.from(kUnpackedHeaderBytes));
  header.payload_bytes = payload.size();
  header.payload_digest = TRY(hash_file(payload));
  TRY(write_at(output.fd(), 0, header.encode()));
  TRY(UnpackedKernel::parse(file));
  if (TRY(FileStamp::of(bzimage_fd_)) != stamp_) {
    return Error{Errc::kBusy, 0, "the kernel file changed while it was unpacked"};
  }
  return output.publish(kernel_name(digest));
}

// Best effort: without an entry, the next start hashes both files again.
void Lookup::remember(const Sha256Digest& digest, int unpacked_fd) const {
  const auto unpacked = FileStamp::of(unpacked_fd);
  if (!unpacked || stamp_.is_fresh()) return;
  IndexEntry entry;
  entry.source = stamp_;
  entry.source_digest = digest;
  entry.unpacked = *unpacked;
  auto file = directory_.create_file();
  if (!file || !write_at(file->fd(), 0, std::as_bytes(std::span(&entry, 1)))) return;
  [[maybe_unused]] const auto published = file->publish(index_name_);
}

}  // namespace

Result<Fd> unpack_cached(int bzimage_fd, const CacheOptions& options) {
  const std::string path =
      options.directory.empty() ? TRY(CacheDirectory::default_path()) : options.directory;
  const std::string helper =
      options.helper_path.empty() ? default_helper_path() : options.helper_path;
  const CacheDirectory directory = TRY(CacheDirectory::open(path));
  const Lookup lookup(directory, bzimage_fd, TRY(FileStamp::of(bzimage_fd)));
  if (auto recalled = lookup.recall()) return recalled;

  const Sha256Digest digest = TRY(hash_file(TRY(FileReader::create(bzimage_fd))));
  auto unpacked = lookup.verify(digest);
  if (!unpacked) {
    if (unpacked.error().code != Errc::kNotFound) {
      log_warning("kernel_cache_entry_replaced", {{"reason", unpacked.error().what}});
    }
    TRY(lookup.build(digest, helper));
    unpacked = lookup.verify(digest);
    if (!unpacked) return unpacked.error();
  }
  lookup.remember(digest, unpacked->get());
  return unpacked;
}

}  // namespace bulkhead::boot
