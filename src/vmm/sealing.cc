// SPDX-License-Identifier: Apache-2.0
#include "vmm/sealing.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/byte_reader.h"
#include "base/log.h"
#include "mem/cold_ram.h"
#include "seal/key_file.h"

namespace bulkhead {
namespace {

// A processor's data has as many pages of the store, behind those of memory. AMX's tiles, the
// largest component of XSAVE so far, make it 11 KiB.
constexpr std::uint64_t kProcessorPages = 16;
constexpr std::uint64_t kProcessorBytes = kProcessorPages * kPageSize;

// What the store itself needs besides the pages: nodes (0.8 %) and superblocks.
constexpr std::uint64_t medium_capacity(std::uint64_t pages) {
  return pages * kPageSize + pages * kPageSize / 32 + 16 * kMiB;
}

// The command line opened the file and looked at it; only its content is trusted less.
Result<std::unique_ptr<KeySource>> key_from(int fd) {
  std::unique_ptr<KeySource> key;
  if (fd < 0) {
    key = std::make_unique<EphemeralKey>(TRY(EphemeralKey::create()));
  } else {
    key = std::make_unique<KeyDescriptor>(TRY(KeyDescriptor::create(fd)));
  }
  return key;
}

std::uint64_t memory_pages(const GuestMemory& memory) {
  return memory.layout().size_bytes() / kPageSize;
}

}  // namespace

Result<std::unique_ptr<Sealing>> Sealing::create(const SealSpec& spec, const Wiring& wiring) {
  std::unique_ptr<Sealing> sealing(new Sealing(spec, wiring));
  TRY(sealing->open_store());
  if (spec.resident_bytes > 0) TRY(sealing->manage());
  return sealing;
}

Sealing::~Sealing() {
  ::alarm(0);
  wiring_.memory.set_residency(nullptr);
  if (cold_ == nullptr) return;
  const ColdStats stats = cold_->stats();
  log_info("cold_memory", {{"opened", stats.open_faults},
                           {"opened_ahead", stats.prefetched},
                           {"opened_ahead_used", stats.prefetch_hits},
                           {"sealed", stats.put},
                           {"dropped_clean", stats.dropped_clean},
                           {"dropped_zero", stats.dropped_zero},
                           {"zero_faults", stats.zero_faults},
                           {"aged_faults", stats.aged_faults},
                           {"write_faults", stats.write_faults},
                           {"aborted", stats.aborted},
                           {"waits", stats.waits},
                           {"over_limit", stats.over_limit}});
}

Result<void> Sealing::open_store() {
  const std::uint64_t pages = memory_pages(wiring_.memory) + wiring_.cpus * kProcessorPages;
  key_ = TRY(key_from(spec_.key_fd));
  if (spec_.store_fd >= 0) {
    Fd copy(::dup(spec_.store_fd));
    if (!copy.valid()) return os_error("cannot duplicate the descriptor of the sealed file");
    if (::ftruncate(copy.get(), 0) != 0) return os_error("cannot empty the sealed file");
    medium_ = std::make_unique<FileMedium>(
        TRY(FileMedium::adopt(std::move(copy), FileMedium::Access::kWrite)));
  } else {
    medium_ = std::make_unique<MemoryMedium>(TRY(MemoryMedium::create(medium_capacity(pages))));
  }
  store_ = TRY(SealedStore::create({.medium = *medium_,
                                    .key = *key_,
                                    .purpose = kMemoryPurpose,
                                    .page_count = pages,
                                    .codec = spec_.compress ? &codec_ : nullptr}));
  return {};
}

Result<void> Sealing::manage() {
  // Without a limit so far above all there is that nothing goes while the guest runs.
  const std::uint64_t limit = spec_.resident_bytes > 0 ? spec_.resident_bytes / kPageSize
                                                       : 2 * memory_pages(wiring_.memory);
  // A copy of an opened page saves sealing it again, but in RAM it takes the space that was meant
  // to be saved.
  std::unique_ptr<ColdMemory> cold = TRY(ColdMemory::create(
      {.limit_pages = limit, .keep_copies = spec_.store_fd >= 0}, *store_, *this));
  TRY(manage_ram(*cold, wiring_.memory));
  cold_ = std::move(cold);
  wiring_.memory.set_residency(cold_.get());
  return {};
}

Result<void> Sealing::add_unit(std::size_t unit) {
  return cold_ == nullptr ? Result<void>() : manage_unit(*cold_, wiring_.memory, unit);
}

Result<void> Sealing::remove_unit(std::size_t unit) {
  return cold_ == nullptr ? Result<void>() : forget_unit(*cold_, wiring_.memory, unit);
}

Result<void> Sealing::seal_all() {
  if (cold_ == nullptr && wiring_.memory.backing() == Backing::kMemfd) {
    if (Result<void> managed = manage(); !managed) log_failure("seal_by_copy", managed.error());
  }
  return cold_ != nullptr ? cold_->seal_all() : copy_out();
}

Result<void> Sealing::open_all() {
  if (copied_out_) return copy_back();
  if (cold_ != nullptr) cold_->resume();
  return {};
}

// Page by page: a page that is wiped has been sealed before.
Result<void> Sealing::copy_out() {
  std::array<std::byte, kPageSize> page;
  copied_out_ = true;
  const Result<void> copied = for_each_page([&](PageIndex index, Gpa at) -> Result<void> {
    TRY(wiring_.memory.read(at, page));
    TRY(store_->put(index, page));
    return wiring_.memory.zero(at, kPageSize);
  });
  ::explicit_bzero(page.data(), page.size());
  TRY(copied);
  for (const MemoryRegion& region : regions()) {
    TRY(wiring_.memory.discard(region.base, region.size_bytes));
  }
  return {};
}

Result<void> Sealing::copy_back() {
  std::array<std::byte, kPageSize> page;
  const Result<void> copied = for_each_page([&](PageIndex index, Gpa at) -> Result<void> {
    TRY(store_->get(index, page));
    if (std::ranges::all_of(page, [](std::byte b) { return b == std::byte{0}; })) return {};
    TRY(wiring_.memory.write(at, page));
    store_->forget(index);
    return {};
  });
  ::explicit_bzero(page.data(), page.size());
  TRY(copied);
  copied_out_ = false;
  return {};
}

// Boot RAM and the units that are there now.
std::vector<MemoryRegion> Sealing::regions() const {
  const GuestMemory& memory = wiring_.memory;
  std::vector<MemoryRegion> all(memory.regions().begin(), memory.regions().end());
  for (std::size_t unit = 0; unit < memory.layout().units; ++unit) {
    if (memory.has_unit(unit)) all.push_back(memory.unit_region(unit));
  }
  return all;
}

// Stops at the first error.
Result<void> Sealing::for_each_page(const PageAction& action) {
  for (const MemoryRegion& region : regions()) {
    for (std::uint64_t offset = 0; offset < region.size_bytes; offset += kPageSize) {
      TRY(action(PageIndex((region.ram_offset + offset) / kPageSize), region.base + offset));
    }
  }
  return {};
}

Result<void> Sealing::seal_processor(unsigned cpu, std::vector<std::byte> data) {
  const std::size_t length = data.size();
  CHECK(length + sizeof(std::uint32_t) <= kProcessorBytes);
  std::vector<std::byte> padded(kProcessorBytes);
  put_le(padded, 0, static_cast<std::uint32_t>(length));
  std::ranges::copy(data, padded.begin() + sizeof(std::uint32_t));
  ::explicit_bzero(data.data(), data.size());
  Result<void> sealed;
  for (std::uint64_t page = 0; page < kProcessorPages && sealed; ++page) {
    sealed = store_->put(processor_page(cpu) + page,
                         std::span(padded).subspan(page * kPageSize).first<kPageSize>());
  }
  ::explicit_bzero(padded.data(), padded.size());
  return sealed;
}

Result<std::vector<std::byte>> Sealing::open_processor(unsigned cpu) {
  std::vector<std::byte> padded(kProcessorBytes);
  for (std::uint64_t page = 0; page < kProcessorPages; ++page) {
    TRY(store_->get(processor_page(cpu) + page,
                    std::span(padded).subspan(page * kPageSize).first<kPageSize>()));
  }
  const auto length = get_le<std::uint32_t>(padded, 0);
  if (length > kProcessorBytes - sizeof length) {
    return Error{Errc::kMalformed, 0, "the sealed data of a processor has no sensible length"};
  }
  std::vector<std::byte> data(padded.begin() + sizeof length,
                              padded.begin() + sizeof length + length);
  ::explicit_bzero(padded.data(), padded.size());
  return data;
}

PageIndex Sealing::processor_page(unsigned cpu) const {
  return PageIndex(memory_pages(wiring_.memory) + cpu * kProcessorPages);
}

std::optional<Sealing::Amounts> Sealing::amounts() const {
  if (cold_ != nullptr) {
    const ColdStats stats = cold_->stats();
    return Amounts{stats.resident * kPageSize, stats.sealed * kPageSize};
  }
  if (!copied_out_) return std::nullopt;
  return Amounts{0, store_->stats().sealed_pages * kPageSize};
}

void Sealing::release_faults() {
  if (cold_ != nullptr) cold_->release_faults();
}

// On a thread that serves faults. Whoever touched the page waits; if that is the thread which ends
// the partition, or waits for a vCPU that did, nobody is left to but the kernel.
void Sealing::integrity_failed(PageIndex page, Error error) {
  log_failure("sealed_page_refused", error, {{"page", page.value()}});
  ::alarm(wiring_.end_seconds);
  wiring_.outcome.finish(Outcome::kFailed);
}

}  // namespace bulkhead
