// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/mapping.h"
#include "crypto/openssl_bytes.h"
#include "seal/sealed_store.h"

namespace bulkhead::bench {

[[noreturn]] inline void give_up(const char* what, const Error& error) {
  std::fprintf(stderr, "seal_bench: %s: %s (errno %d)\n", what, error.what, error.os_errno);
  std::exit(1);
}

template <class T>
T need(const char* what, Result<T> result) {
  if (!result) give_up(what, result.error());
  if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

// Pages of 4 KiB each, as a partition's cold memory is mapped: no huge pages.
class Pages {
 public:
  explicit Pages(std::uint64_t count)
      : mapping_(need("memory", Mapping::create({.size_bytes = count * kPageSize,
                                                 .protection = PROT_READ | PROT_WRITE,
                                                 .flags = MAP_PRIVATE | MAP_ANONYMOUS}))) {
    ::madvise(mapping_.data(), mapping_.size(), MADV_NOHUGEPAGE);
    std::memset(mapping_.data(), 0xa5, mapping_.size());
  }
  std::span<std::byte> all() { return mapping_.bytes(); }
  PageBytes at(std::uint64_t page) {
    return PageBytes(mapping_.data() + page * kPageSize, kPageSize);
  }
  unsigned char* raw(std::uint64_t page) { return openssl_bytes(std::span<std::byte>(at(page))); }

 private:
  Mapping mapping_;
};

// Something that handles pages, one at a time and thread.
class Contestant {
 public:
  virtual ~Contestant() = default;
  virtual void page(unsigned thread, std::uint64_t page) = 0;
  virtual void finish() {}  // at the end of a slice, counted in it
};

// The limit: AES-256-GCM as OpenSSL's users call it, and nothing else.
class Evp : public Contestant {
 public:
  static constexpr unsigned kMaxThreads = 2;

  Evp(Pages& plain, Pages& sealed, bool seal)
      : plain_(plain), sealed_(sealed), tags_(plain.all().size() / kPageSize), seal_(seal) {
    for (Context& context : contexts_) {
      context.reset(EVP_CIPHER_CTX_new());
      const std::array<unsigned char, 32> key{1};
      EVP_CipherInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key.data(), nullptr, 1);
    }
  }
  void set_seal(bool seal) { seal_ = seal; }
  void page(unsigned thread, std::uint64_t page) override {
    if (!(seal_ ? seal(thread, page) : open(thread, page))) std::exit(1);
  }

 protected:
  Pages& sealed() { return sealed_; }

 private:
  struct Free {
    void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
  };
  using Context = std::unique_ptr<EVP_CIPHER_CTX, Free>;
  using Tag = std::array<unsigned char, 16>;

  static std::array<unsigned char, 12> iv_of(std::uint64_t page) {
    std::array<unsigned char, 12> iv{};
    std::memcpy(iv.data(), &page, sizeof page);
    return iv;
  }
  bool seal(unsigned thread, std::uint64_t page) {
    EVP_CIPHER_CTX* context = contexts_[thread].get();
    int length = 0;
    return EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, iv_of(page).data()) == 1 &&
           EVP_EncryptUpdate(context, sealed_.raw(page), &length, plain_.raw(page), kPageSize) ==
               1 &&
           EVP_EncryptFinal_ex(context, tags_[page].data(), &length) == 1 &&
           EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, tags_[page].data()) == 1;
  }
  bool open(unsigned thread, std::uint64_t page) {
    EVP_CIPHER_CTX* context = contexts_[thread].get();
    int length = 0;
    Tag rest;
    return EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, iv_of(page).data()) == 1 &&
           EVP_DecryptUpdate(context, plain_.raw(page), &length, sealed_.raw(page), kPageSize) ==
               1 &&
           EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, 16, tags_[page].data()) == 1 &&
           EVP_DecryptFinal_ex(context, rest.data(), &length) == 1;
  }

  std::array<Context, kMaxThreads> contexts_;
  Pages& plain_;
  Pages& sealed_;
  std::vector<Tag> tags_;
  bool seal_;
};

// The same, with the store's trick: all lines of the page are asked for before the cipher begins.
class EvpEarly final : public Evp {
 public:
  EvpEarly(Pages& plain, Pages& sealed) : Evp(plain, sealed, true), source_(plain) {}
  void page(unsigned thread, std::uint64_t page) override {
    constexpr std::size_t kLine = 64;
    const PageBytes bytes = source_.at(page);
    for (std::size_t at = 0; at < kPageSize; at += kLine) __builtin_prefetch(bytes.data() + at);
    Evp::page(thread, page);
  }

 private:
  Pages& source_;
};

// As Evp, to a file; synced at the end of a slice.
class EvpFile final : public Evp {
 public:
  EvpFile(Pages& plain, Pages& sealed, const std::string& path)
      : Evp(plain, sealed, true),
        file_(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) {}
  void page(unsigned thread, std::uint64_t page) override {
    Evp::page(thread, page);
    const auto offset = static_cast<off_t>(page * kPageSize);
    if (::pwrite(file_.get(), sealed().at(page).data(), kPageSize, offset) != kPageSize) {
      give_up("file", os_error("cannot write"));
    }
  }
  void finish() override {
    if (::fdatasync(file_.get()) != 0) give_up("file", os_error("cannot sync"));
  }

 private:
  Fd file_;
};

// A file, as a user has it: what lies below may seal it. Read past the page cache, if that is
// possible, which would have it open.
class PlainFile final : public Contestant {
 public:
  PlainFile(Pages& plain, const std::string& path, bool write)
      : plain_(plain),
        file_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | (write ? 0 : O_DIRECT), 0600)),
        write_(write) {
    if (!file_.valid()) file_ = Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  }
  void page(unsigned, std::uint64_t page) override {
    const auto offset = static_cast<off_t>(page * kPageSize);
    const PageBytes bytes = plain_.at(page);
    const ssize_t done = write_ ? ::pwrite(file_.get(), bytes.data(), kPageSize, offset)
                                : ::pread(file_.get(), bytes.data(), kPageSize, offset);
    if (done != kPageSize) give_up("file", os_error("cannot be used"));
  }
  void finish() override {
    if (write_) ::fdatasync(file_.get());
  }

 private:
  Pages& plain_;
  Fd file_;
  bool write_;
};

class Store final : public Contestant {
 public:
  struct Options {
    bool put = true;
    bool commit = false;  // at the end of each slice
  };
  Store(SealedStore& store, Pages& pages, Options options)
      : store_(store), pages_(pages), options_(options) {}
  void page(unsigned, std::uint64_t page) override {
    const PageIndex index(page);
    const auto done =
        options_.put ? store_.put(index, pages_.at(page)) : store_.get(index, pages_.at(page));
    if (!done) give_up("store", done.error());
  }
  void finish() override {
    if (options_.commit) need("commit", store_.commit());
  }

 private:
  SealedStore& store_;
  Pages& pages_;
  const Options options_;
};

}  // namespace bulkhead::bench
