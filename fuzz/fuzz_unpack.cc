// SPDX-License-Identifier: Apache-2.0
// Compressed data of every format through the decompressors of bulkhead-unpack.

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "base/fd.h"
#include "boot/unpack/decompress.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bulkhead;
  constexpr std::uint64_t kLimit = 1 << 20;
  const auto compression = boot::detect_compression(std::as_bytes(std::span(data, size)));
  if (!compression) return 0;
  const Fd input(::memfd_create("input", MFD_CLOEXEC));
  const Fd output(::memfd_create("output", MFD_CLOEXEC));
  CHECK(::write(input.get(), data, size) == static_cast<ssize_t>(size));
  boot::Source source(input.get(), {0, size});
  boot::Sink sink(output.get(), kLimit);
  [[maybe_unused]] const auto done = boot::decompress(*compression, source, sink);
  CHECK(::lseek(output.get(), 0, SEEK_END) <= static_cast<off_t>(kLimit));
  return 0;
}
