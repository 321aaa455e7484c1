// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "mem/cold_memory.h"
#include "mem/guest_memory.h"
#include "seal/file_medium.h"
#include "seal/key_source.h"
#include "seal/memory_medium.h"
#include "seal/sealed_store.h"
#include "seal/zstd_codec.h"
#include "vmm/launch_spec.h"
#include "vmm/outcome.h"

namespace bulkhead {

// What of a partition is sealed: cold pages of its memory while it runs, all of it and the data in
// its processors while it is suspended. On the event loop's thread, but for the faults that
// ColdMemory serves.
class Sealing final : private ColdObserver {
 public:
  struct Wiring {
    GuestMemory& memory;
    OutcomeSink& outcome;  // told when what was sealed does not come back as it was
    unsigned cpus = 1;
    // How long the end of the partition may take then, before the process is killed (SIGALRM).
    unsigned end_seconds = 10;
  };

  // `spec` and what is wired outlive it. With a limit (spec.resident_bytes) memory is managed from
  // now on, and without one from the first suspension.
  static Result<std::unique_ptr<Sealing>> create(const SealSpec& spec, const Wiring& wiring);
  ~Sealing() override;

  // A growth unit has come, or goes.
  Result<void> add_unit(std::size_t unit);
  Result<void> remove_unit(std::size_t unit);

  // Seals all memory, and wipes it. Nobody uses it until open_all(). On an error everything that
  // was sealed can be opened.
  Result<void> seal_all();
  // Lets memory be used again: page by page as it is touched, or, where the host has no userfaultfd
  // for us or memory that cannot go in pages, all at once.
  Result<void> open_all();

  // A processor's data, of which this copy is wiped; and back. kMalformed: not what was sealed.
  Result<void> seal_processor(unsigned cpu, std::vector<std::byte> data);
  Result<std::vector<std::byte>> open_processor(unsigned cpu);

  struct Amounts {
    std::uint64_t resident_bytes = 0;  // of memory that was ever used
    std::uint64_t sealed_bytes = 0;
  };
  // Nothing while memory is not managed.
  std::optional<Amounts> amounts() const;
  // ColdMemory's: when the partition has ended.
  void release_faults();

 private:
  Sealing(const SealSpec& spec, const Wiring& wiring) : spec_(spec), wiring_(wiring) {}
  void integrity_failed(PageIndex page, Error error) override;
  Result<void> open_store();
  Result<void> manage();
  Result<void> copy_out();
  Result<void> copy_back();
  std::vector<MemoryRegion> regions() const;
  using PageAction = std::function<Result<void>(PageIndex, Gpa)>;
  Result<void> for_each_page(const PageAction& action);
  PageIndex processor_page(unsigned cpu) const;

  const SealSpec& spec_;
  const Wiring wiring_;
  std::unique_ptr<KeySource> key_;
  std::unique_ptr<Medium> medium_;
  ZstdCodec codec_;
  std::unique_ptr<SealedStore> store_;
  std::unique_ptr<ColdMemory> cold_;
  bool copied_out_ = false;
};

}  // namespace bulkhead
