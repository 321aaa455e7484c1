// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/rng.h"

#include <string.h>
#include <sys/random.h>

#include <algorithm>
#include <array>

namespace bulkhead {
namespace {

constexpr std::uint32_t kStateVersion = 1;
constexpr std::array<std::uint16_t, 1> kQueueSizes = {16};
// Of one call; more comes when the event loop comes round.
constexpr std::uint64_t kMaxCallBytes = 32 * kKiB;
// What a request counts besides its bytes, so that empty ones have a limit, too.
constexpr std::uint64_t kRequestWork = 64;

// Up to this size getrandom(2) gives all or fails, and no signal interrupts it.
constexpr std::size_t kChunkBytes = 256;

}  // namespace

Result<std::unique_ptr<VirtioRng>> VirtioRng::create(DmaSpace& space, EventLoop& loop) {
  std::unique_ptr<VirtioRng> rng(new VirtioRng(space));
  rng->service_ = TRY(QueueService::create(loop, *rng));
  return rng;
}

std::span<const std::uint16_t> VirtioRng::queue_sizes() const {
  return kQueueSizes;
}

void VirtioRng::read_config(std::uint64_t offset, std::span<std::byte> bytes) {
  copy_config({}, offset, bytes);
}

Result<void> VirtioRng::activate(const VirtioActivation& activation) {
  service_->activate(activation);
  return {};
}

Result<void> VirtioRng::process_queue(std::uint16_t queue_index) {
  const bool more = TRY(service_->serve(queue_index, kMaxCallBytes,
                                        [&](const DescriptorChain& chain) { return fill(chain); }));
  if (more) service_->call_again(queue_index);
  return {};
}

Result<QueueService::Served> VirtioRng::fill(const DescriptorChain& chain) {
  DmaWriter writer(space_, chain.writable());
  const auto total =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(writer.remaining(), kMaxRequestBytes));
  std::array<std::byte, kChunkBytes> buffer;
  for (std::uint32_t left = total; left > 0;) {
    const auto chunk = std::span(buffer).first(std::min<std::size_t>(left, buffer.size()));
    if (::getrandom(chunk.data(), chunk.size(), 0) != static_cast<ssize_t>(chunk.size())) {
      return os_error("cannot get random bytes from the host");
    }
    TRY(writer.write(chunk));
    left -= static_cast<std::uint32_t>(chunk.size());
  }
  ::explicit_bzero(buffer.data(), buffer.size());  // the guest's secrets are not ours to keep
  return QueueService::Served{.written = total, .work = total + kRequestWork};
}

void VirtioRng::save(StateWriter& writer) const {
  writer.put(kStateVersion);
}

Result<void> VirtioRng::restore(StateReader& reader) {
  if (TRY(reader.get<std::uint32_t>()) != kStateVersion) {
    return Error{Errc::kUnsupported, 0, "state of the virtio entropy device: other version"};
  }
  return {};
}

}  // namespace bulkhead
