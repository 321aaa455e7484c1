// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

namespace bulkhead::bench {

// A key-value store in a piece of memory, and a client of it: records of 1 KiB, keys chosen by
// Zipf's law (the n-th most popular one with probability proportional to 1 / n^theta) and spread
// over all of memory. Knows nothing of what is under the memory.
class KeyValueWorkload {
 public:
  struct Options {
    double theta = 0.99;  // what the YCSB benchmark uses
    double writes = 0.05;
    std::uint64_t seed = 1;
  };
  static constexpr std::size_t kRecordBytes = 1024;

  KeyValueWorkload(std::span<std::byte> memory, const Options& options)
      : memory_(memory),
        records_(memory.size() / kRecordBytes),
        options_(options),
        random_(options.seed),
        versions_(records_) {
    double sum = 0;
    for (std::uint64_t rank = 1; rank <= records_; ++rank) sum += weight(rank);
    total_ = sum;
  }

  // Writes every record once, with content that does not compress.
  void load() {
    for (std::uint64_t record = 0; record < records_; ++record) put(record);
  }
  // Does that many operations. Returns how long they took in seconds.
  double run(std::uint64_t operations) {
    const auto start = std::chrono::steady_clock::now();
    for (std::uint64_t i = 0; i < operations; ++i) {
      const std::uint64_t record = place_of(next_rank());
      if (uniform() < options_.writes) {
        put(record);
      } else {
        check(record);
      }
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  // Reads that gave something else than the last write. Anything but 0 is a defect.
  std::uint64_t wrong() const { return wrong_; }

 private:
  double uniform() { return static_cast<double>(random_() >> 11) * 0x1p-53; }
  double weight(std::uint64_t rank) const {
    return std::pow(static_cast<double>(rank), -options_.theta);
  }
  // Inverts the distribution: exactly for the first ranks, then by the integral of the weights.
  std::uint64_t next_rank() {
    double left = uniform() * total_;
    for (std::uint64_t rank = 1; rank <= kExact; ++rank) {
      left -= weights_[rank];
      if (left < 0) return rank;
    }
    const double power = 1 - options_.theta;
    const double base = std::pow(kExact + 0.5, power);
    const auto rank = static_cast<std::uint64_t>(std::pow(base + left * power, 1 / power) + 0.5);
    return rank < records_ ? rank : records_;
  }
  // Multiplication by an odd number is one-to-one modulo a power of two, and near enough otherwise.
  std::uint64_t place_of(std::uint64_t rank) const {
    return rank * 0x9e3779b97f4a7c15u % (std::uint64_t{1} << 61) % records_;
  }
  std::uint64_t word_of(std::uint64_t record, std::uint64_t version) const {
    return (record + 1) * 0xd6e8feb86659fd93u ^ (version + 1) * 0xa0761d6478bd642fu;
  }
  std::byte* at(std::uint64_t record) { return memory_.data() + record * kRecordBytes; }
  void put(std::uint64_t record) {
    std::uint64_t word = word_of(record, ++versions_[record]);
    for (std::size_t i = 0; i < kRecordBytes; i += sizeof word) {
      std::memcpy(at(record) + i, &word, sizeof word);
      word = word * 0x5851f42d4c957f2du + 1;
    }
  }
  void check(std::uint64_t record) {
    std::uint64_t word = word_of(record, versions_[record]);
    std::uint64_t difference = 0;
    for (std::size_t i = 0; i < kRecordBytes; i += sizeof word) {
      std::uint64_t found = 0;
      std::memcpy(&found, at(record) + i, sizeof found);
      difference |= found ^ word;
      word = word * 0x5851f42d4c957f2du + 1;
    }
    if (difference != 0) ++wrong_;
  }
  std::vector<double> first_weights() const {
    std::vector<double> weights(kExact + 1);
    for (std::uint64_t rank = 1; rank <= kExact; ++rank) weights[rank] = weight(rank);
    return weights;
  }

  static constexpr std::uint64_t kExact = 8;

  std::span<std::byte> memory_;
  std::uint64_t records_;
  Options options_;
  std::mt19937_64 random_;
  std::vector<std::uint32_t> versions_;
  std::vector<double> weights_ = first_weights();
  double total_ = 0;
  std::uint64_t wrong_ = 0;
};

}  // namespace bulkhead::bench
