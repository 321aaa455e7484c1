// SPDX-License-Identifier: Apache-2.0
// Kernel files of every kind, raw or as a patched good one, through the probe and the loader.

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/log.h"
#include "boot/image_builder_for_test.h"
#include "boot/kernel_image.h"
#include "boot/loader.h"
#include "mem/guest_memory.h"

namespace bulkhead::boot {
namespace {

enum class Start : std::uint8_t { kRaw, kBzImage, kElf, kUnpacked };

Bytes good_image(Start start) {
  const TestRelocations relocations{
      .add64 = {0x100, 0x108}, .subtract32 = {0x200}, .add32 = {0x300, 0x1000}};
  switch (start) {
    case Start::kRaw:
      break;
    case Start::kBzImage:
      return TestBzImage::make(Bytes(256));
    case Start::kElf:
      return TestElf::make();
    case Start::kUnpacked:
      return make_unpacked(TestElf::make() + relocations.make());
  }
  return {};
}

// The rest of the input is a list of patches: two bytes of offset, one of value.
Bytes make_image(std::span<const std::uint8_t> input) {
  const auto start = static_cast<Start>(input[0] % 4);
  const auto rest = input.subspan(1);
  if (start == Start::kRaw) {
    const auto bytes = std::as_bytes(rest);
    return {bytes.begin(), bytes.end()};
  }
  Bytes image = good_image(start);
  for (std::size_t at = 0; at + 3 <= rest.size(); at += 3) {
    const std::size_t offset = rest[at] + std::size_t{rest[at + 1]} * 256;
    image[offset % image.size()] = static_cast<std::byte>(rest[at + 2]);
  }
  return image;
}

}  // namespace
}  // namespace bulkhead::boot

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bulkhead;
  if (size == 0) return 0;
  set_log_level(LogLevel::kError);
  const Fd kernel = boot::make_file(boot::make_image({data, size}));
  const auto image = boot::KernelImage::probe(kernel.get());
  auto memory = GuestMemory::create({.size_bytes = GuestMemory::kMinSize}).value();
  const auto entry = boot::load(*memory, {.kernel_fd = kernel.get(),
                                          .initrd_fd = std::nullopt,
                                          .command_line = "quiet",
                                          .cpu_count = 1,
                                          .pci_window64 = boot::pci_window64(64 * kMiB)});
  // What the probe refuses, the loader does not start; what needs more memory than there is,
  // neither.
  if (!image || image->needed_bytes() > memory->size_bytes()) CHECK(!entry);
  return 0;
}
