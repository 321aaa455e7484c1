// SPDX-License-Identifier: Apache-2.0
#include "seal/key_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "base/fd.h"
#include "crypto/random.h"
#include "seal/file_io.h"

namespace bulkhead {
namespace {

constexpr std::size_t kHexDigits = 2 * kPartitionKeyBytes;
// One more than the longest content, to notice a longer one.
constexpr std::size_t kMaxContentBytes = kHexDigits + 2;

Error not_a_key() {
  return Error{Errc::kMalformed, 0, "a key file holds 32 bytes or 64 hexadecimal digits"};
}

// The value of a hexadecimal digit without a table or branch on it: no trace in the cache.
int hex_value(std::byte digit) {
  const int c = std::to_integer<int>(digit);
  const int lower = c | 0x20;
  const int is_digit = ((c - '0') | ('9' - c)) >= 0 ? 1 : 0;
  const int is_letter = ((lower - 'a') | ('f' - lower)) >= 0 ? 1 : 0;
  return is_digit * (c - '0') + is_letter * (lower - 'a' + 10) - (1 - is_digit - is_letter);
}

Result<SecretBytes> parse_hex(std::span<const std::byte> digits) {
  SecretBytes key = TRY(SecretBytes::create(digits.size() / 2));
  for (std::size_t i = 0; i < key.size(); ++i) {
    const int high = hex_value(digits[2 * i]);
    const int low = hex_value(digits[2 * i + 1]);
    if (high < 0 || low < 0) return not_a_key();
    key.bytes()[i] = static_cast<std::byte>(high << 4 | low);
  }
  return key;
}

Result<SecretBytes> read_key(const Fd& fd) {
  SecretBytes content = TRY(SecretBytes::create(kMaxContentBytes));
  const std::size_t length = TRY(read_at_most(fd.get(), 0, content.bytes()));
  return parse_key(content.bytes().first(length));
}

Result<Fd> open_checked(const std::string& path, int flags) {
  // Not blocking: opening a pipe must not wait for a writer.
  Fd fd = TRY(Fd::open(path.c_str(), flags | O_NOFOLLOW | O_NONBLOCK));
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) return os_error("cannot examine the key file");
  if (!S_ISREG(status.st_mode)) {
    return Error{Errc::kInvalidArgument, 0, "the key file is not a regular file"};
  }
  if (status.st_uid != ::geteuid() && status.st_uid != 0) {
    return Error{Errc::kPermission, 0, "the key file belongs to someone else"};
  }
  if ((status.st_mode & 077) != 0) {
    return Error{Errc::kPermission, 0, "the key file is open to others: chmod 600"};
  }
  return fd;
}

}  // namespace

Result<SecretBytes> parse_key(std::span<const std::byte> content) {
  if (content.size() == kPartitionKeyBytes) return SecretBytes::copy_of(content);
  if (content.size() == kHexDigits + 1 && content.back() == std::byte{'\n'}) {
    content = content.first(kHexDigits);
  }
  if (content.size() != kHexDigits) return not_a_key();
  return parse_hex(content);
}

Result<KeyFile> KeyFile::open(std::string path) {
  KeyFile file(std::move(path));
  TRY(file.key());
  return file;
}

Result<KeyFile> KeyFile::create(std::string path) {
  const SecretBytes key = TRY(SecretBytes::random(kPartitionKeyBytes));
  const Fd fd = TRY(Fd::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600));
  TRY(write_exactly(fd.get(), 0, key.bytes()));
  if (::fsync(fd.get()) != 0) return os_error("cannot sync the key file");
  TRY(sync_directory_of(path));
  return KeyFile(std::move(path));
}

Result<SecretBytes> KeyFile::key() {
  if (erased_) return Error{Errc::kClosed, 0, "the key was erased"};
  const Fd fd = TRY(open_checked(path_, O_RDONLY));
  return read_key(fd);
}

Result<void> KeyFile::erase() {
  const Fd fd = TRY(open_checked(path_, O_RDWR));
  std::array<std::byte, kMaxContentBytes> noise;
  TRY(random_bytes(noise));
  TRY(write_exactly(fd.get(), 0, noise));
  if (::fsync(fd.get()) != 0) return os_error("cannot sync the key file");
  erased_ = true;
  if (::unlink(path_.c_str()) != 0) return os_error("cannot remove the key file");
  return sync_directory_of(path_);
}

Result<KeyDescriptor> KeyDescriptor::create(int fd) {
  Fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return os_error("cannot duplicate the descriptor of the key file");
  return KeyDescriptor(std::move(copy));
}

Result<SecretBytes> KeyDescriptor::key() {
  return read_key(fd_);
}

Result<void> KeyDescriptor::erase() {
  return Error{Errc::kUnsupported, 0, "the key file is another process's to erase"};
}

}  // namespace bulkhead
