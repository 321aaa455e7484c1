// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/log.h"
#include "devices/virtio/device.h"
#include "devices/virtio/queue_service.h"

namespace bulkhead {

// A virtio memory balloon (virtio 1.2 §5.5). Pages that the driver puts into the balloon, or
// reports as free, go back to the host; when the guest touches one again it finds zeros. The driver
// need not tell before it takes pages out, so the deflate queue has nothing to do.
//
// What the driver names is advice: pages outside of RAM, named twice, or beyond what a request may
// list are passed over.
class VirtioBalloon final : public VirtioDevice {
 public:
  static constexpr std::uint32_t kPageBytes = 4096;  // VIRTIO_BALLOON_PFN_SHIFT is 12
  // Linux lists 256 pages in a request.
  static constexpr std::uint32_t kMaxRequestPages = 4096;
  // Linux reports at most 32 blocks of 4 MiB in a request.
  static constexpr std::uint64_t kMaxReportedBytes = 1 * kGiB;

  // `ram_pages` of 4 KiB is the size of the partition's RAM.
  static Result<std::unique_ptr<VirtioBalloon>> create(DmaSpace& space, EventLoop& loop,
                                                       std::uint64_t ram_pages);

  // How many pages the balloon should hold. Any thread. Refuses more than there are.
  Result<void> set_target_pages(std::uint64_t pages);
  struct Counters {
    std::uint32_t target_pages = 0;
    std::uint32_t actual_pages = 0;     // as the driver says
    std::uint64_t discarded_bytes = 0;  // inflated or reported since the start
  };
  Counters counters();

  std::string_view name() const override { return "virtio-balloon"; }
  std::uint32_t device_id() const override { return 5; }
  std::uint64_t offered_features() const override;
  std::span<const std::uint16_t> queue_sizes() const override;
  void read_config(std::uint64_t offset, std::span<std::byte> bytes) override;
  void write_config(std::uint64_t offset, std::span<const std::byte> bytes) override;
  Result<void> activate(const VirtioActivation& activation) override;
  Result<void> process_queue(std::uint16_t queue_index) override;
  void reset() override { service_->reset(); }

  void save(StateWriter& writer) const override;
  Result<void> restore(StateReader& reader) override;

 private:
  // virtio 1.2 §5.5.6: all fields little-endian.
  struct Config {
    std::uint32_t num_pages = 0;
    std::uint32_t actual = 0;
  };
  static_assert(sizeof(Config) == 8);

  VirtioBalloon(DmaSpace& space, std::uint32_t ram_pages) : space_(space), ram_pages_(ram_pages) {}

  Result<QueueService::Served> inflate(const DescriptorChain& chain);
  Result<QueueService::Served> deflate(const DescriptorChain& chain);
  Result<QueueService::Served> take_report(const DescriptorChain& chain);
  void discard_pages(std::span<std::uint32_t> page_numbers);
  void discard(const DmaSegment& segment);

  DmaSpace& space_;
  const std::uint32_t ram_pages_;
  Config config_;
  std::uint64_t discarded_bytes_ = 0;
  LogLimiter limiter_;
  std::unique_ptr<QueueService> service_;
};

}  // namespace bulkhead
