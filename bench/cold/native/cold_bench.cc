// SPDX-License-Identifier: Apache-2.0
// One run of the key-value workload, in plain memory or in cold memory; prints one line of JSON.
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "key_value_workload.h"
#include "mem/cold_memory.h"
#include "seal/key_source.h"
#include "seal/memory_medium.h"
#include "seal/sealed_store.h"

namespace bulkhead::bench {
namespace {

struct Plan {
  std::uint64_t footprint_bytes = 0;
  unsigned resident_percent = 0;  // 0: plain memory
  std::uint64_t operations = 0;
  KeyValueWorkload::Options workload;
  bool keep_copies = true;
};

[[noreturn]] void give_up(const char* what, const Error& error) {
  std::fprintf(stderr, "cold_bench: %s: %s (errno %d)\n", what, error.what, error.os_errno);
  std::exit(1);
}

template <class T>
T need(const char* what, Result<T> result) {
  if (!result) give_up(what, result.error());
  return std::move(result).value();
}

class Observer : public ColdObserver {
 public:
  void integrity_failed(PageIndex, Error error) override { give_up("integrity", error); }
};

// The same memory for all contestants: a memory file, mapped shared, of 4 KiB pages.
struct Ram {
  explicit Ram(std::uint64_t size)
      : file(::memfd_create("bench-ram", MFD_CLOEXEC)),
        sized(::ftruncate(file.get(), static_cast<off_t>(size)) == 0),
        mapping(need("mapping", Mapping::create({.size_bytes = size,
                                                 .protection = PROT_READ | PROT_WRITE,
                                                 .flags = MAP_SHARED,
                                                 .fd = file.get()}))) {
    ::madvise(mapping.data(), size, MADV_NOHUGEPAGE);
  }
  Fd file;
  bool sized;
  Mapping mapping;
};

// Cold memory over sealed pages in RAM.
struct Cold {
  Cold(const Ram& ram, const Plan& plan)
      : medium(need("medium", MemoryMedium::create(2 * plan.footprint_bytes + 64 * kMiB))),
        key(need("key", EphemeralKey::create())),
        store(need("store", SealedStore::create({.medium = medium,
                                                 .key = key,
                                                 .purpose = kMemoryPurpose,
                                                 .page_count = plan.footprint_bytes / kPageSize}))),
        memory(need("cold memory",
                    ColdMemory::create({.limit_pages = plan.footprint_bytes / kPageSize *
                                                       plan.resident_percent / 100,
                                        .keep_copies = plan.keep_copies},
                                       *store, observer))) {
    const Result<void> added = memory->add_range(
        {ram.mapping.host(), plan.footprint_bytes, ram.file.get(), 0, PageIndex(0)});
    if (!added) give_up("range", added.error());
  }
  MemoryMedium medium;
  EphemeralKey key;
  Observer observer;
  std::unique_ptr<SealedStore> store;
  std::unique_ptr<ColdMemory> memory;
};

void print_count(const char* name, std::uint64_t after, std::uint64_t before) {
  std::printf(", \"%s\": %llu", name, static_cast<unsigned long long>(after - before));
}

void print_stats(const ColdStats& after, const ColdStats& before) {
  print_count("open_faults", after.open_faults, before.open_faults);
  print_count("aged_faults", after.aged_faults, before.aged_faults);
  print_count("write_faults", after.write_faults, before.write_faults);
  print_count("waits", after.waits, before.waits);
  print_count("put", after.put, before.put);
  print_count("dropped_clean", after.dropped_clean, before.dropped_clean);
  print_count("prefetched", after.prefetched, before.prefetched);
  print_count("prefetch_hits", after.prefetch_hits, before.prefetch_hits);
  print_count("put_errors", after.put_errors, before.put_errors);
  print_count("over_limit", after.over_limit, before.over_limit);
}

// Of all threads of this process, in user and kernel mode.
double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Seals what is resident, as for a suspend.
void print_seal_all(ColdMemory& memory) {
  const std::uint64_t pages = memory.stats().resident;
  const auto start = std::chrono::steady_clock::now();
  const Result<void> sealed = memory.seal_all();
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  if (!sealed) give_up("seal_all", sealed.error());
  std::printf(", \"seal_all_pages\": %llu, \"seal_all_seconds\": %.6f",
              static_cast<unsigned long long>(pages), time.count());
}

int measure(const Plan& plan) {
  const Ram ram(plan.footprint_bytes);
  std::unique_ptr<Cold> cold;
  if (plan.resident_percent > 0) cold = std::make_unique<Cold>(ram, plan);
  KeyValueWorkload workload(ram.mapping.bytes(), plan.workload);
  workload.load();
  workload.run(plan.operations / 2);  // warms up
  const ColdStats before = cold ? cold->memory->stats() : ColdStats{};
  const double cpu_before = cpu_seconds();
  const double seconds = workload.run(plan.operations);
  const double cpu = cpu_seconds() - cpu_before;
  const ColdStats after = cold ? cold->memory->stats() : ColdStats{};
  struct stat status{};
  ::fstat(ram.file.get(), &status);
  std::printf(
      "{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"operations\": %llu, \"wrong\": %llu, "
      "\"resident_mib\": %lld",
      seconds, cpu, static_cast<unsigned long long>(plan.operations),
      static_cast<unsigned long long>(workload.wrong()),
      static_cast<long long>(status.st_blocks) / 2048);
  if (cold) {
    print_stats(after, before);
    print_count("medium_mib", cold->medium.resident_bytes() / kMiB, 0);
    print_seal_all(*cold->memory);
  }
  std::printf("}\n");
  return workload.wrong() == 0 && ram.sized ? 0 : 1;
}

}  // namespace
}  // namespace bulkhead::bench

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr,
                 "usage: cold_bench FOOTPRINT_MIB RESIDENT_PERCENT OPERATIONS SEED WRITE_SHARE "
                 "KEEP_COPIES\n");
    return 2;
  }
  bulkhead::bench::Plan plan;
  plan.footprint_bytes = std::strtoull(argv[1], nullptr, 10) * bulkhead::kMiB;
  plan.resident_percent = static_cast<unsigned>(std::strtoul(argv[2], nullptr, 10));
  plan.operations = std::strtoull(argv[3], nullptr, 10);
  plan.workload.seed = std::strtoull(argv[4], nullptr, 10);
  plan.workload.writes = std::strtod(argv[5], nullptr);
  plan.keep_copies = std::strcmp(argv[6], "1") == 0;
  return bulkhead::bench::measure(plan);
}
