// SPDX-License-Identifier: Apache-2.0
// One case of the sealing engine against OpenSSL alone, in alternating slices; prints one line of
// JSON with the nanoseconds of each slice. The cases: bench/seal/run.
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <string_view>

#include "contestant.h"
#include "crypto/random.h"
#include "seal/file_medium.h"
#include "seal/key_source.h"
#include "seal/memory_medium.h"
#include "slices.h"

namespace bulkhead::bench {
namespace {

struct Plan {
  std::uint64_t pages = 0;
  std::size_t cached_nodes = 0;
  bool put = true;
  bool random = true;
  bool commit = false;
  std::uint64_t slice_pages = 0;
  unsigned rounds = 0;
  std::string directory;  // empty: in memory
  std::string peer;       // a file to compare with instead of OpenSSL
};

std::unique_ptr<Medium> medium_for(const Plan& plan) {
  if (plan.directory.empty()) {
    const std::uint64_t capacity = 3 * plan.pages * kPageSize + 64 * kMiB;
    return std::make_unique<MemoryMedium>(need("medium", MemoryMedium::create(capacity)));
  }
  const std::string path = plan.directory + "/seal_bench.store";
  ::unlink(path.c_str());
  return std::make_unique<FileMedium>(need("medium", FileMedium::create(path)));
}

struct Bench {
  explicit Bench(const Plan& plan)
      : data(plan.pages),
        sealed(plan.pages),
        opened(plan.pages),
        medium(medium_for(plan)),
        key(need("key", EphemeralKey::create())),
        store(need("store", SealedStore::create({.medium = *medium,
                                                 .key = key,
                                                 .purpose = kMemoryPurpose,
                                                 .page_count = plan.pages,
                                                 .cached_nodes = plan.cached_nodes}))),
        order(plan.pages) {
    need("random bytes", random_bytes(data.all()));
    std::iota(order.begin(), order.end(), 0);
    if (plan.random) std::ranges::shuffle(order, std::mt19937_64(1));
  }

  Pages data, sealed, opened;
  std::unique_ptr<Medium> medium;
  EphemeralKey key;
  std::unique_ptr<SealedStore> store;
  std::vector<std::uint64_t> order;
};

struct Entrant {
  const char* name;
  Contestant& contestant;
  unsigned threads;
  SliceRunner runner;
  std::vector<Slice> slices{};
};

void print_slices(const Entrant& entrant, const Plan& plan) {
  const auto pages = static_cast<double>(plan.slice_pages * entrant.threads);
  std::printf(", \"%s %u\": [", entrant.name, entrant.threads);
  const char* separator = "";
  for (const Slice& slice : entrant.slices) {
    std::printf("%s[%.1f, %.1f, %d]", separator, slice.wall_ns / pages, slice.cpu_ns / pages,
                slice.disturbed ? 1 : 0);
    separator = ", ";
  }
  std::printf("]");
}

// They take turns, and turns in who begins.
void alternate(std::vector<Entrant>& entrants, const Plan& plan) {
  for (unsigned round = 0; round < plan.rounds; ++round) {
    for (std::size_t i = 0; i < entrants.size(); ++i) {
      Entrant& entrant = entrants[(i + round) % entrants.size()];
      entrant.slices.push_back(
          entrant.runner.run(entrant.contestant, entrant.threads, plan.slice_pages));
    }
  }
}

double time_each(std::uint64_t count, auto&& action) {
  const double start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  for (std::uint64_t i = 0; i < count; ++i) action(i);
  return (clock_ns(CLOCK_THREAD_CPUTIME_ID) - start) / static_cast<double>(count);
}

// Pages that cost no cipher, or do so for nothing.
void print_special_pages(Bench& bench, Pages& zero) {
  SealedStore& store = *bench.store;
  const std::uint64_t count = bench.order.size();
  const auto put = [&](Pages& pages, bool one) {
    return time_each(count, [&](std::uint64_t i) {
      const std::uint64_t page = bench.order[i];
      need("put", store.put(PageIndex(page), pages.at(one ? 0 : page)));
    });
  };
  put(bench.data, false);
  std::printf(", \"unchanged_put_ns\": %.1f", put(bench.data, false));
  std::printf(", \"zero_over_sealed_put_ns\": %.1f", put(zero, true));
  std::printf(", \"zero_over_zero_put_ns\": %.1f", put(zero, true));
  std::printf(", \"zero_get_ns\": %.1f", time_each(count, [&](std::uint64_t i) {
                need("get", store.get(PageIndex(bench.order[i]), bench.opened.at(bench.order[i])));
              }));
  std::printf(", \"sealed_over_zero_put_ns\": %.1f", put(bench.data, false));
}

// With a store that notices unchanged pages: one that is, and one that is not, beside that of a
// store that does not look.
void print_noticed_pages(Bench& bench, const Plan& plan) {
  const std::unique_ptr<Medium> medium = medium_for(plan);
  const auto store = need("store", SealedStore::create({.medium = *medium,
                                                        .key = bench.key,
                                                        .purpose = kMemoryPurpose,
                                                        .page_count = plan.pages,
                                                        .notice_unchanged = true}));
  const auto put = [&](SealedStore& into, Pages& pages) {
    return time_each(plan.pages, [&](std::uint64_t i) {
      const std::uint64_t page = bench.order[i];
      need("put", into.put(PageIndex(page), pages.at(page)));
    });
  };
  put(*store, bench.data);
  put(*store, bench.sealed);
  put(*store, bench.data);
  std::printf(", \"changed_put_ns\": %.1f", put(*bench.store, bench.sealed));
  std::printf(", \"changed_put_noticing_ns\": %.1f", put(*store, bench.sealed));
  std::printf(", \"unchanged_put_noticing_ns\": %.1f", put(*store, bench.sealed));
}

void print_space(Bench& bench, const Plan& plan) {
  need("commit", bench.store->commit());
  bench.store->trim();
  const SealedStoreStats stats = bench.store->stats();
  std::printf(", \"page_bytes\": %llu, \"stored_bytes\": %llu",
              static_cast<unsigned long long>(stats.sealed_pages * kPageSize),
              static_cast<unsigned long long>(stats.stored_bytes));
  if (!plan.directory.empty()) return;
  const auto& memory = static_cast<const MemoryMedium&>(*bench.medium);
  std::printf(", \"medium_resident_bytes\": %llu",
              static_cast<unsigned long long>(memory.resident_bytes()));
}

// More than once: replaced pages go to places that the medium has not used yet, and touching
// memory for the first time is not what is measured.
void fill(Bench& bench, Evp& evp, const Plan& plan) {
  constexpr unsigned kPasses = 3;
  Store writer(*bench.store, bench.data, {.put = true, .commit = false});
  for (std::uint64_t page : bench.order) evp.page(0, page);
  for (std::uint64_t i = 0; i < kPasses * plan.pages; ++i) {
    writer.page(0, bench.order[i % plan.pages]);
    if (plan.commit && i % plan.slice_pages == 0) need("commit", bench.store->commit());
  }
  if (plan.commit || !plan.directory.empty()) need("commit", bench.store->commit());
}

bool opened_is_right(Bench& bench) {
  for (std::uint64_t page : bench.order) {
    need("get", bench.store->get(PageIndex(page), bench.opened.at(page)));
  }
  return std::ranges::equal(bench.data.all(), bench.opened.all());
}

std::vector<Entrant> entrants_for(const Plan& plan, Bench& bench, Contestant& ours,
                                  Contestant& limit, Contestant& early, Contestant* file) {
  // Apart, so that neither warms the cache for the other.
  const SliceRunner first(bench.order, 0);
  const SliceRunner second(bench.order, bench.order.size() / 4);
  std::vector<Entrant> entrants;
  entrants.push_back({"evp", limit, 1, first});
  entrants.push_back({"store", ours, 1, second});
  if (plan.put) entrants.push_back({"evp_early", early, 1, first});
  if (file != nullptr)
    entrants.push_back({plan.peer.empty() ? "evp_file" : "peer", *file, 1, first});
  if (plan.directory.empty()) {
    entrants.push_back({"evp", limit, 2, first});
    entrants.push_back({"store", ours, 2, second});
  }
  return entrants;
}

std::unique_ptr<Contestant> file_for(const Plan& plan, Bench& bench, Pages& scratch) {
  if (!plan.peer.empty()) {
    PlainFile writer(bench.data, plan.peer, true);
    for (std::uint64_t page = 0; page < plan.pages; ++page) writer.page(0, page);
    writer.finish();
    return std::make_unique<PlainFile>(plan.put ? bench.data : scratch, plan.peer, plan.put);
  }
  if (plan.directory.empty() || !plan.put) return nullptr;
  auto file = std::make_unique<EvpFile>(bench.data, scratch, plan.directory + "/seal_bench.evp");
  for (std::uint64_t page = 0; page < plan.pages; ++page) file->page(0, page);
  return file;
}

int measure(const Plan& plan) {
  Bench bench(plan);
  Evp evp(bench.data, bench.sealed, true);
  fill(bench, evp, plan);
  evp.set_seal(plan.put);
  Pages scratch(plan.peer.empty() && plan.directory.empty() ? 1 : plan.pages);
  EvpEarly early(bench.data, bench.sealed);
  const std::unique_ptr<Contestant> file = file_for(plan, bench, scratch);
  Store ours(*bench.store, plan.put ? bench.data : bench.opened,
             {.put = plan.put, .commit = plan.commit});
  std::vector<Entrant> entrants = entrants_for(plan, bench, ours, evp, early, file.get());
  alternate(entrants, plan);
  const bool right = opened_is_right(bench);
  std::printf("{\"right\": %s", right ? "true" : "false");
  for (const Entrant& entrant : entrants) print_slices(entrant, plan);
  print_space(bench, plan);
  if (plan.directory.empty()) {
    Pages zero(1);
    std::ranges::fill(zero.all(), std::byte{0});
    print_special_pages(bench, zero);
    print_noticed_pages(bench, plan);
  }
  std::printf("}\n");
  return right ? 0 : 1;
}

}  // namespace
}  // namespace bulkhead::bench

int main(int argc, char** argv) {
  if (argc < 8 || argc > 10) {
    std::fprintf(stderr,
                 "usage: seal_bench PAGES CACHED_NODES|all seal|unseal random|sequential "
                 "commit|no-commit SLICE_PAGES ROUNDS [DIRECTORY [PEER_FILE]]\n");
    return 2;
  }
  bulkhead::bench::Plan plan;
  plan.pages = std::strtoull(argv[1], nullptr, 10);
  plan.cached_nodes = std::string_view(argv[2]) == "all" ? std::numeric_limits<std::size_t>::max()
                                                         : std::strtoull(argv[2], nullptr, 10);
  plan.put = std::string_view(argv[3]) == "seal";
  plan.random = std::string_view(argv[4]) == "random";
  plan.commit = std::string_view(argv[5]) == "commit";
  plan.slice_pages = std::strtoull(argv[6], nullptr, 10);
  plan.rounds = static_cast<unsigned>(std::strtoul(argv[7], nullptr, 10));
  if (argc > 8) plan.directory = argv[8];
  if (argc > 9) plan.peer = argv[9];
  return bulkhead::bench::measure(plan);
}
