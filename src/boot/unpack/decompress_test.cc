// SPDX-License-Identifier: Apache-2.0
#include "boot/unpack/decompress.h"

#include <gtest/gtest.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "boot/image_builder_for_test.h"

namespace bulkhead::boot {
namespace {

constexpr std::uint64_t kPlenty = 64 * kMiB;

// Something that neither compresses to nothing nor stays as it is, and has several buffers' length.
Bytes make_plain(std::size_t size) {
  Bytes plain(size);
  std::uint32_t state = 1;
  for (std::size_t i = 0; i < size; ++i) {
    if (i % 3 == 0) state = state * 1664525 + 1013904223;
    plain[i] = static_cast<std::byte>(state >> 24);
  }
  return plain;
}

Bytes gzip(const Bytes& plain) {
  z_stream stream{};
  CHECK(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  Bytes packed(deflateBound(&stream, plain.size()));
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

Bytes lzma(const Bytes& plain, bool alone) {
  lzma_stream stream = LZMA_STREAM_INIT;
  lzma_options_lzma options;
  lzma_lzma_preset(&options, 1);
  CHECK((alone ? lzma_alone_encoder(&stream, &options)
               : lzma_easy_encoder(&stream, 1, LZMA_CHECK_CRC32)) == LZMA_OK);
  Bytes packed(plain.size() + 65536);
  stream.next_in = reinterpret_cast<const std::uint8_t*>(plain.data());
  stream.avail_in = plain.size();
  stream.next_out = reinterpret_cast<std::uint8_t*>(packed.data());
  stream.avail_out = packed.size();
  CHECK(lzma_code(&stream, LZMA_FINISH) == LZMA_STREAM_END);
  packed.resize(stream.total_out);
  lzma_end(&stream);
  return packed;
}

Bytes zstd(const Bytes& plain) {
  Bytes packed(ZSTD_compressBound(plain.size()));
  packed.resize(ZSTD_compress(packed.data(), packed.size(), plain.data(), plain.size(), 1));
  return packed;
}

Bytes lz4(const Bytes& plain) {
  constexpr std::size_t kBlock = 8 * kMiB;
  Bytes packed;
  append(packed, std::uint32_t{0x184c2102});
  for (std::size_t at = 0; at < plain.size(); at += kBlock) {
    const std::size_t size = std::min(kBlock, plain.size() - at);
    Bytes block(static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(size))));
    const int length = LZ4_compress_default(reinterpret_cast<const char*>(plain.data() + at),
                                            reinterpret_cast<char*>(block.data()),
                                            static_cast<int>(size), static_cast<int>(block.size()));
    CHECK(length > 0);
    block.resize(static_cast<std::size_t>(length));
    append(packed, static_cast<std::uint32_t>(length));
    packed = packed + block;
  }
  return packed;
}

// The compressed forms as a kernel's build makes them: all but gzip have the length behind them.
std::vector<Bytes> pack_all(const Bytes& plain) {
  Bytes trailer;
  append(trailer, static_cast<std::uint32_t>(plain.size()));
  return {gzip(plain), lzma(plain, false) + trailer, lzma(plain, true) + trailer,
          zstd(plain) + trailer, lz4(plain) + trailer};
}

struct Outcome {
  Result<void> result;
  Bytes output;
};

Outcome run(const Bytes& packed, std::uint64_t limit = kPlenty) {
  const Fd input = make_file(Bytes(100) + packed + Bytes(50));
  const Fd output = make_file({});
  const auto compression = detect_compression(packed);
  if (!compression) return {Error{Errc::kUnsupported, 0, "unknown"}, {}};
  Source source(input.get(), {100, packed.size()});
  Sink sink(output.get(), limit);
  const auto result = decompress(*compression, source, sink);
  const FileReader reader = FileReader::create(output.get()).value();
  Bytes bytes(reader.size());
  CHECK(reader.read(0, bytes).has_value());
  return {result, bytes};
}

TEST(Decompress, RestoresEveryFormat) {
  for (std::size_t size : {1U, 1000U, 65536U, 300000U}) {
    const Bytes plain = make_plain(size);
    const auto all = pack_all(plain);
    for (std::size_t format = 0; format < all.size(); ++format) {
      const Outcome outcome = run(all[format]);
      ASSERT_TRUE(outcome.result) << format << " size " << size;
      ASSERT_TRUE(outcome.output == plain) << format << " size " << size;
    }
  }
}

TEST(Decompress, RestoresSeveralLz4Blocks) {
  const Bytes plain = make_plain(17 * kMiB);
  const Outcome outcome = run(lz4(plain));
  ASSERT_TRUE(outcome.result);
  EXPECT_TRUE(outcome.output == plain);
}

TEST(Decompress, KnowsNothingElse) {
  EXPECT_FALSE(detect_compression({}));
  for (std::string_view start : {"BZh91A", "\x89LZO\0\r",
                                 "\x7f"
                                 "ELF\2\1",
                                 "\x1f"}) {
    EXPECT_FALSE(detect_compression(std::as_bytes(std::span(start))));
  }
}

// A frame without its end is an error in the formats that have one; LZ4's legacy frame has none.
TEST(Decompress, NoticesTruncation) {
  const Bytes plain = make_plain(300000);
  for (const Bytes& packed : {gzip(plain), lzma(plain, false), zstd(plain)}) {
    for (std::size_t size = 6; size < packed.size(); size += packed.size() / 37) {
      const auto cut = Bytes(packed.begin(), packed.begin() + static_cast<long>(size));
      EXPECT_FALSE(run(cut).result) << size << " of " << packed.size();
    }
  }
  const Bytes packed = lz4(plain);
  EXPECT_FALSE(run(Bytes(packed.begin(), packed.begin() + 1000)).result);
  EXPECT_FALSE(run(Bytes(packed.begin(), packed.begin() + 8)).result);
}

TEST(Decompress, StopsAtTheLimit) {
  const Bytes plain = make_plain(200000);
  for (const Bytes& packed : pack_all(plain)) {
    const Outcome outcome = run(packed, plain.size() - 1);
    ASSERT_FALSE(outcome.result);
    EXPECT_EQ(outcome.result.error().code, Errc::kExhausted);
    EXPECT_LT(outcome.output.size(), plain.size());
    EXPECT_TRUE(run(packed, plain.size()).result);
  }
}

// Megabytes of zeros in a few hundred bytes.
TEST(Decompress, IsNotFooledByABomb) {
  const Bytes zeros(4 * kMiB);
  for (const Bytes& packed : pack_all(zeros)) {
    EXPECT_EQ(run(packed, 100 * kKiB).result.error().code, Errc::kExhausted);
  }
}

// Damage leads to an error or to other bytes, never to anything worse.
TEST(Decompress, SurvivesDamage) {
  const Bytes plain = make_plain(30000);
  for (const Bytes& packed : pack_all(plain)) {
    for (std::size_t i = 0; i < 60; ++i) {
      Bytes damaged = packed;
      damaged[(i * 7919) % damaged.size()] ^= static_cast<std::byte>(1U << (i % 8));
      [[maybe_unused]] const Outcome outcome = run(damaged);
    }
  }
}

// LZ4 blocks whose length is a lie.
TEST(Decompress, RefusesBlocksOfImpossibleLength) {
  for (std::uint32_t length : {0U, 0x7fffffffU, 0xffffffffU, 9U * 1024 * 1024}) {
    Bytes packed;
    append(packed, std::uint32_t{0x184c2102});
    append(packed, length);
    packed.resize(packed.size() + 100);
    EXPECT_FALSE(run(packed).result) << length;
  }
}

}  // namespace
}  // namespace bulkhead::boot
