// SPDX-License-Identifier: Apache-2.0
#include "boot/loader.h"

#include <algorithm>
#include <span>

#include "base/log.h"
#include "boot/acpi/tables.h"
#include "boot/boot_params.h"
#include "boot/file_reader.h"
#include "boot/kaslr.h"
#include "boot/kernel_image.h"
#include "boot/memory_map.h"
#include "boot/page_tables.h"
#include "boot/pvh.h"
#include "boot/relocations.h"
#include "crypto/random.h"
#include "mem/guest_memory.h"

namespace bulkhead::boot {
namespace {

constexpr std::uint64_t kEntry64Offset = 0x200;  // boot.rst, "64-bit Boot Protocol"

Error too_small() {
  return Error{Errc::kExhausted, 0,
               "the kernel does not fit in the partition's memory: give it more memory"};
}

// One start of one kernel.
class Loader {
 public:
  Loader(GuestMemory& memory, const BootRequest& request, const FileReader& kernel)
      : memory_(memory),
        request_(request),
        kernel_(kernel),
        map_(memory.size_bytes()),
        low_end_(std::min(memory.size_bytes(), kLowRamLimit)) {}

  Result<Entry> start(const BzImage& image);
  Result<Entry> start(const ElfImage& image);
  Result<Entry> start(const UnpackedKernel& kernel);
  // What start() has put where.
  LoadedRange initrd() const { return initrd_; }
  LoadedRange acpi_tables() const { return acpi_tables_; }

 private:
  // What every kernel gets, and where it may lie.
  struct Demands {
    std::uint64_t command_line_bytes = kCommandLineCapacity - 1;
    std::uint64_t kernel_end = 0;           // the initrd lies above this
    std::uint64_t initrd_limit = 4 * kGiB;  // and ends at or below this
  };
  Result<void> load_common(const Demands& demands);
  Result<void> load_command_line(std::uint64_t limit_bytes);
  Result<void> load_initrd(const Demands& demands);
  Result<void> load_segments(const ElfImage& image, const FileReader& file, std::uint64_t offset);
  Result<bool> load_unpacked(const UnpackedKernel& kernel, KernelPlacement& placement);
  Result<Gpa> load_rng_seed();
  Result<Entry> enter_long_mode(Gpa rip, const SetupHeader& header, bool kaslr);

  GuestMemory& memory_;
  const BootRequest& request_;
  const FileReader& kernel_;
  MemoryMap map_;
  std::uint64_t low_end_;
  LoadedRange initrd_;
  LoadedRange acpi_tables_;
};

Result<void> Loader::load_common(const Demands& demands) {
  TRY(load_command_line(demands.command_line_bytes));
  TRY(load_initrd(demands));
  acpi_tables_ = TRY(acpi::write_tables(memory_, {.cpu_count = request_.cpu_count,
                                                  .pci_window64 = request_.pci_window64,
                                                  .tpm = request_.tpm}));
  return {};
}

Result<void> Loader::load_command_line(std::uint64_t limit_bytes) {
  const std::string_view line = request_.command_line;
  if (line.size() > std::min(limit_bytes, kCommandLineCapacity - 1)) {
    return Error{Errc::kInvalidArgument, 0, "the command line is longer than the kernel takes"};
  }
  if (line.find('\0') != std::string_view::npos) {
    return Error{Errc::kInvalidArgument, 0, "the command line contains a NUL character"};
  }
  TRY(memory_.write(kCommandLineBase, std::as_bytes(std::span(line))));
  return memory_.zero(kCommandLineBase + line.size(), 1);
}

// As high as possible: what lies below stays in one piece.
Result<void> Loader::load_initrd(const Demands& demands) {
  if (!request_.initrd_fd) return {};
  auto file = FileReader::create(*request_.initrd_fd);
  if (!file) return Error{file.error().code, file.error().os_errno, "the initrd cannot be read"};
  const std::uint64_t size = file->size();
  if (size == 0) return Error{Errc::kTruncated, 0, "the initrd is empty"};
  const std::uint64_t limit = std::min(low_end_, demands.initrd_limit);
  if (size > limit || align_down(limit - size, kPageSize) < demands.kernel_end) {
    return Error{Errc::kExhausted, 0,
                 "the initrd does not fit in the partition's memory: give it more memory"};
  }
  initrd_ = {Gpa{align_down(limit - size, kPageSize)}, size};
  return memory_.copy_from_fd(initrd_.base, size, file->fd(), 0);
}

// Memory behind a segment's file bytes is zero already: guest RAM starts that way.
Result<void> Loader::load_segments(const ElfImage& image, const FileReader& file,
                                   std::uint64_t offset) {
  for (const ElfSegment& segment : image.segments()) {
    if (segment.file_bytes == 0) continue;
    TRY(memory_.copy_from_fd(Gpa{segment.physical + offset}, segment.file_bytes, file.fd(),
                             file.base() + segment.file_offset));
  }
  return {};
}

Result<Gpa> Loader::load_rng_seed() {
  RngSeed seed;
  TRY(random_bytes(seed));
  TRY(memory_.write(kSetupDataBase, make_rng_seed_node(seed)));
  return kSetupDataBase;
}

Result<Entry> Loader::enter_long_mode(Gpa rip, const SetupHeader& header, bool kaslr) {
  const Gpa setup_data = TRY(load_rng_seed());
  const BootParams params = make_boot_params({.header = header,
                                              .memory_map = map_,
                                              .initrd = initrd_,
                                              .command_line = kCommandLineBase,
                                              .rsdp = acpi_tables_.base,
                                              .setup_data = setup_data,
                                              .kaslr = kaslr});
  TRY(memory_.write(kZeroPageBase, params));
  TRY(memory_.write(kGdtBase, std::as_bytes(std::span(kvm::kLongModeGdt))));
  TRY(write_identity_page_tables(memory_));
  return Entry(kvm::LongModeEntry{.rip = rip,
                                  .boot_params = kZeroPageBase,
                                  .page_table = kPageTableBase,
                                  .gdt = kGdtBase,
                                  .gdt_limit = kvm::kLongModeGdtLimit});
}

Result<Entry> Loader::start(const BzImage& image) {
  const Gpa load_address{image.pref_address};
  if (!range_fits(image.pref_address, image.init_size, low_end_)) return too_small();
  TRY(load_common({.command_line_bytes = image.cmdline_size,
                   .kernel_end = image.pref_address + image.init_size,
                   .initrd_limit = image.initrd_addr_max + 1}));
  TRY(memory_.copy_from_fd(load_address, image.kernel_bytes, kernel_.fd(),
                           kernel_.base() + image.kernel_offset));
  return enter_long_mode(load_address + kEntry64Offset, image.header, false);
}

Result<Entry> Loader::start(const ElfImage& image) {
  const std::uint64_t entry = image.pvh_entry().value_or(0);
  if (image.low() < kHighMemoryBase.value() || entry < image.low() || entry >= image.high()) {
    return Error{Errc::kMalformed, 0, "the kernel's segments or its PVH entry are out of range"};
  }
  if (image.high() > low_end_) return too_small();
  TRY(load_common({.kernel_end = image.high()}));
  TRY(load_segments(image, kernel_, 0));
  TRY(memory_.write(kStartInfoBase,
                    make_start_info(kStartInfoBase, {.memory_map = map_,
                                                     .initrd = initrd_,
                                                     .command_line = kCommandLineBase,
                                                     .rsdp = acpi_tables_.base})));
  return Entry(kvm::ProtectedModeEntry{.rip = Gpa{entry}, .start_info = kStartInfoBase});
}

// Places the kernel at random, if it and the command line allow that. Returns whether it did.
Result<bool> Loader::load_unpacked(const UnpackedKernel& kernel, KernelPlacement& placement) {
  const FileReader payload = TRY(kernel_.from(kUnpackedHeaderBytes));
  const auto tables = TRY(RelocationTables::find(payload, kernel.elf.file_end()));
  const std::uint64_t image_bytes = kernel.elf.high() - kernel.elf.low();
  Randomization allowed = allowed_randomization(request_.command_line);
  if (!tables && allowed != Randomization::kNone) {
    log_warning("kaslr_unavailable", {{"reason", "the kernel has no relocation tables"}});
    allowed = Randomization::kNone;
  }
  placement =
      TRY(choose_placement({.preferred = kernel.elf.low(),
                            .limit = initrd_.size_bytes != 0 ? initrd_.base.value() : low_end_,
                            .image_bytes = image_bytes,
                            .alignment = kernel.bzimage.alignment},
                           allowed));
  TRY(load_segments(kernel.elf, payload, placement.load_address.value() - kernel.elf.low()));
  if (placement.virtual_offset != 0) {
    TRY(tables->apply(memory_, payload,
                      {.load_address = placement.load_address,
                       .link_address = kernel.elf.low(),
                       .image_bytes = image_bytes,
                       .virtual_offset = placement.virtual_offset}));
  }
  return allowed != Randomization::kNone;
}

Result<Entry> Loader::start(const UnpackedKernel& kernel) {
  const ElfImage& elf = kernel.elf;
  if (elf.entry() < elf.low() || elf.entry() >= elf.high()) {
    return Error{Errc::kMalformed, 0, "the kernel's entry point is out of range"};
  }
  if (elf.high() > low_end_) return too_small();
  TRY(load_common({.command_line_bytes = kernel.bzimage.cmdline_size,
                   .kernel_end = elf.high(),
                   .initrd_limit = kernel.bzimage.initrd_addr_max + 1}));
  KernelPlacement placement;
  const bool kaslr = TRY(load_unpacked(kernel, placement));
  return enter_long_mode(placement.load_address + (elf.entry() - elf.low()), kernel.bzimage.header,
                         kaslr);
}

}  // namespace

Result<Loaded> load(GuestMemory& memory, const BootRequest& request) {
  const KernelImage image = TRY(KernelImage::probe(request.kernel_fd));
  const FileReader kernel = TRY(FileReader::create(request.kernel_fd));
  Loader loader(memory, request, kernel);
  const Entry entry =
      TRY(std::visit([&](const auto& parsed) { return loader.start(parsed); }, image.parsed()));
  return Loaded{entry, loader.initrd(), loader.acpi_tables()};
}

Result<void> write_event_log(GuestMemory& memory, std::span<const std::byte> log) {
  if (log.size() > kEventLogCapacity) {
    return Error{Errc::kExhausted, 0, "the event log is longer than its area"};
  }
  return memory.write(kEventLogBase, log);
}

}  // namespace bulkhead::boot
