// SPDX-License-Identifier: Apache-2.0
// No nonce is used twice under one key, whatever becomes of a store: the program's calls of OpenSSL
// go through the recorder below, which the linker prefers to the library's function.

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <cstring>
#include <mutex>
#include <set>
#include <string>

#include "seal/sealed_store.h"
#include "seal/store_for_test.h"

namespace bulkhead {
namespace {

class Recorder {
 public:
  void note(const EVP_CIPHER_CTX* context, const unsigned char* key, const unsigned char* nonce,
            int encrypt) {
    const std::lock_guard lock(mutex_);
    if (!recording) return;
    if (key != nullptr) keys_[context] = std::string(key, key + kAeadKeyBytes);
    if (nonce == nullptr || encrypt != 1) return;
    const auto known = keys_.find(context);
    if (known == keys_.end()) return;  // made before the recording began
    ++uses;
    if (!seen_.insert(known->second + std::string(nonce, nonce + 12)).second) ++repeated;
    distinct_keys.insert(known->second);
  }
  void start() {
    const std::lock_guard lock(mutex_);
    keys_.clear();
    seen_.clear();
    distinct_keys.clear();
    uses = 0;
    repeated = 0;
    recording = true;
  }
  void stop() {
    const std::lock_guard lock(mutex_);
    recording = false;
  }

  bool recording = false;
  std::size_t uses = 0;
  std::size_t repeated = 0;
  std::set<std::string> distinct_keys;

 private:
  std::mutex mutex_;
  std::map<const EVP_CIPHER_CTX*, std::string> keys_;
  std::set<std::string> seen_;
};

Recorder recorder;

}  // namespace
}  // namespace bulkhead

extern "C" int EVP_CipherInit_ex(EVP_CIPHER_CTX* context, const EVP_CIPHER* cipher, ENGINE* engine,
                                 const unsigned char* key, const unsigned char* iv, int encrypt) {
  using Function = int (*)(EVP_CIPHER_CTX*, const EVP_CIPHER*, ENGINE*, const unsigned char*,
                           const unsigned char*, int);
  static const auto real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "EVP_CipherInit_ex"));
  bulkhead::recorder.note(context, key, iv, encrypt);
  return real(context, cipher, engine, key, iv, encrypt);
}

namespace bulkhead {
namespace {

constexpr std::uint64_t kPages = 300;

class Nonces : public testing::Test {
 protected:
  Nonces() { recorder.start(); }
  ~Nonces() override { recorder.stop(); }

  TestKey key;
};

// The control: the recorder notices the mistake that sessions exist to avoid, a key used again
// after a restart with the numbers beginning anew.
TEST_F(Nonces, ControlASessionThatIsContinuedRepeatsThem) {
  const SecretBytes secret = key.key().value();
  const SealScope scope{kMemoryPurpose, StoreId::random().value()};
  const SessionSalt salt = SessionSalt::random().value();
  for (int life = 0; life < 2; ++life) {
    auto sealer = PageSealer::create({.partition_key = secret, .scope = scope, .salt = salt});
    Page ciphertext;
    for (std::uint64_t i = 0; i < 3; ++i) {
      ASSERT_TRUE((*sealer)->seal({SealPlace::page(PageIndex(i)), PageKind::kPlain, page_of(i + 1)},
                                  ciphertext));
    }
  }
  EXPECT_EQ(recorder.uses, 6u);
  EXPECT_EQ(recorder.repeated, 3u);
}

TEST_F(Nonces, AreUniqueOverTheWholeLifeOfAStore) {
  std::mt19937_64 random(11);
  TestMedium medium;
  auto options = [&](TestMedium& m) {
    auto made = options_for_test(m, key);
    made.session_uses = 2000;
    made.cached_nodes = 1;
    return made;
  };
  const auto change = [&](SealedStore& store, int times) {
    for (int i = 0; i < times; ++i) {
      // The same few contents at the same few places, over and over.
      ASSERT_TRUE(store.put(PageIndex(random() % kPages), page_of(random() % 3)));
    }
  };
  auto first = options(medium);
  first.page_count = kPages;
  auto store = SealedStore::create(first).value();
  std::vector<std::vector<std::byte>> copies = {medium.bytes};
  for (int step = 0; step < 300; ++step) {
    change(*store, static_cast<int>(random() % 40));
    switch (random() % 8) {
      case 0:
      case 1:
        ASSERT_TRUE(store->commit());
        break;
      case 2:  // a crash: what was not committed is lost
        store.reset();
        store = SealedStore::open(options(medium)).value();
        break;
      case 3:
        if (copies.size() < 20) copies.push_back(medium.bytes);
        break;
      case 4:  // the file is rolled back
        store.reset();
        medium.bytes = copies[random() % copies.size()];
        store = SealedStore::open(options(medium)).value();
        break;
      case 5: {  // a copy is opened while the original is
        TestMedium copy(copies[random() % copies.size()]);
        auto fork = SealedStore::open(options(copy)).value();
        change(*fork, 20);
        change(*store, 20);
        ASSERT_TRUE(fork->commit());
        ASSERT_TRUE(store->commit());
        break;
      }
      case 6:
        ASSERT_TRUE(store->rekey());
        break;
      default:
        (void)read_page(*store, random() % kPages).value();
    }
  }
  EXPECT_GT(recorder.uses, 5000u);
  EXPECT_GT(recorder.distinct_keys.size(), 50u);
  EXPECT_EQ(recorder.repeated, 0u);
}

TEST_F(Nonces, HaveTheLayoutOfTheFormat) {
  const AeadNonce nonce =
      PageSealer::nonce(0x060504030201, SealPlace::node(5, 0x050c0b0a0908), PageKind::kPacked1K);
  const std::array<unsigned char, 12> expected = {1, 2, 3, 4, 5, 6, 8, 9, 0x0a, 0x0b, 0x0c, 0xad};
  EXPECT_EQ(std::memcmp(nonce.data(), expected.data(), expected.size()), 0);
}

}  // namespace
}  // namespace bulkhead
