// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/balloon.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/byte_reader.h"
#include "devices/virtio/spec.h"

namespace bulkhead {
namespace {

constexpr std::uint32_t kStateVersion = 1;

constexpr std::uint64_t kFeatureDeflateOnOom = virtio::feature(2);
constexpr std::uint64_t kFeatureReporting = virtio::feature(5);

constexpr std::uint16_t kInflate = 0;
constexpr std::uint16_t kDeflate = 1;
// The specification gives free page reporting queue 4 (virtio 1.2 §5.5.2). Linux before 6.11, and
// other implementations of the device, count only the queues of negotiated features: then it is
// queue 2. Neither statistics (2) nor hints (3) are offered, so that any of the three can serve.
constexpr std::array<std::uint16_t, 5> kQueueSizes = {64, 64, 64, 64, 64};

constexpr std::uint64_t kActualOffset = 4;  // in Config

// Page numbers are fetched, sorted and joined to runs this many at a time.
constexpr std::size_t kBatch = 256;
// Of one call, in pages listed or segments reported; each may be a system call.
constexpr std::uint64_t kMaxCallWork = 2048;

}  // namespace

Result<std::unique_ptr<VirtioBalloon>> VirtioBalloon::create(DmaSpace& space, EventLoop& loop,
                                                             std::uint64_t ram_pages) {
  if (ram_pages > std::numeric_limits<std::uint32_t>::max()) {
    return Error{Errc::kOutOfRange, 0, "more memory than a balloon can count: 16 TiB"};
  }
  std::unique_ptr<VirtioBalloon> balloon(
      new VirtioBalloon(space, static_cast<std::uint32_t>(ram_pages)));
  balloon->service_ = TRY(QueueService::create(loop, *balloon));
  return balloon;
}

Result<void> VirtioBalloon::set_target_pages(std::uint64_t pages) {
  if (pages > ram_pages_) {
    return Error{Errc::kOutOfRange, 0, "the balloon cannot hold more than the partition's memory"};
  }
  MutexLock guard(lock());
  config_.num_pages = static_cast<std::uint32_t>(pages);
  service_->config_changed();
  return {};
}

VirtioBalloon::Counters VirtioBalloon::counters() {
  MutexLock guard(lock());
  return {config_.num_pages, config_.actual, discarded_bytes_};
}

std::uint64_t VirtioBalloon::offered_features() const {
  return kFeatureDeflateOnOom | kFeatureReporting;
}

std::span<const std::uint16_t> VirtioBalloon::queue_sizes() const {
  return kQueueSizes;
}

void VirtioBalloon::read_config(std::uint64_t offset, std::span<std::byte> bytes) {
  copy_config(std::as_bytes(std::span(&config_, 1)), offset, bytes);
}

// Only `actual` is the driver's to write, and drivers write it whole (§5.5.6).
void VirtioBalloon::write_config(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (offset != kActualOffset || bytes.size() != sizeof(config_.actual)) return;
  config_.actual = get_le<std::uint32_t>(bytes, 0);
}

Result<void> VirtioBalloon::activate(const VirtioActivation& activation) {
  service_->activate(activation);
  return {};
}

Result<void> VirtioBalloon::process_queue(std::uint16_t queue_index) {
  const auto handle = [&](const DescriptorChain& chain) {
    if (queue_index == kInflate) return inflate(chain);
    if (queue_index == kDeflate) return deflate(chain);
    return take_report(chain);
  };
  if (TRY(service_->serve(queue_index, kMaxCallWork, handle))) service_->call_again(queue_index);
  return {};
}

// An array of 32-bit page numbers (§5.5.6.2). A list that ends within a number loses that one.
Result<QueueService::Served> VirtioBalloon::inflate(const DescriptorChain& chain) {
  DmaReader reader(space_, chain.readable());
  const std::uint64_t listed = reader.remaining() / sizeof(std::uint32_t);
  if (listed > kMaxRequestPages && limiter_.allow()) {
    log_warning("balloon_list_cut", {{"pages", listed}});
  }
  const std::uint64_t total = std::min<std::uint64_t>(listed, kMaxRequestPages);
  std::array<std::uint32_t, kBatch> buffer;
  for (std::uint64_t left = total; left > 0;) {
    const auto batch = std::span(buffer).first(std::min<std::uint64_t>(left, buffer.size()));
    TRY(reader.read(std::as_writable_bytes(batch)));
    discard_pages(batch);
    left -= batch.size();
  }
  return QueueService::Served{.written = 0, .work = total + 1};
}

// Pages that leave the balloon come back by themselves when they are touched.
Result<QueueService::Served> VirtioBalloon::deflate(const DescriptorChain& /*chain*/) {
  return QueueService::Served{.written = 0, .work = 1};
}

// The writable segments are the free pages themselves (§5.5.6.7). Without REPORTING the queue has
// no meaning, and what is put there is only given back.
Result<QueueService::Served> VirtioBalloon::take_report(const DescriptorChain& chain) {
  if ((service_->features() & kFeatureReporting) == 0) return deflate(chain);
  std::uint64_t left = kMaxReportedBytes;
  for (DmaSegment segment : chain.writable()) {
    segment.length = static_cast<std::uint32_t>(std::min<std::uint64_t>(segment.length, left));
    left -= segment.length;
    if (space_.reachable(segment, DmaAccess::kWrite)) {
      discard(segment);
    } else if (limiter_.allow()) {
      log_warning("balloon_report_refused", {{"gpa", segment.address}, {"bytes", segment.length}});
    }
  }
  return QueueService::Served{.written = 0, .work = chain.writable().size() + 1};
}

void VirtioBalloon::discard_pages(std::span<std::uint32_t> page_numbers) {
  std::ranges::sort(page_numbers);
  std::uint64_t first = 0;
  std::uint64_t end = 0;  // [first, end) is the run so far
  for (const std::uint64_t page : page_numbers) {
    const DmaAddr address(page * kPageBytes);
    if (page < end || !space_.reachable({address, kPageBytes}, DmaAccess::kWrite)) continue;
    if (page > end) {
      discard(
          {DmaAddr(first * kPageBytes), static_cast<std::uint32_t>((end - first) * kPageBytes)});
      first = page;
    }
    end = page + 1;
  }
  discard({DmaAddr(first * kPageBytes), static_cast<std::uint32_t>((end - first) * kPageBytes)});
}

void VirtioBalloon::discard(const DmaSegment& segment) {
  if (segment.length == 0) return;
  const Result<void> done = space_.discard(segment);
  if (done) {
    discarded_bytes_ += segment.length;
  } else if (limiter_.allow()) {
    log_failure("balloon_discard", done.error(), {{"gpa", segment.address}});
  }
}

void VirtioBalloon::save(StateWriter& writer) const {
  writer.put(kStateVersion);
  writer.put(config_);
}

Result<void> VirtioBalloon::restore(StateReader& reader) {
  if (TRY(reader.get<std::uint32_t>()) != kStateVersion) {
    return Error{Errc::kUnsupported, 0, "state of the virtio balloon: other version"};
  }
  const auto config = TRY(reader.get<Config>());
  if (config.num_pages > ram_pages_) {
    return Error{Errc::kMalformed, 0, "state of the virtio balloon: impossible values"};
  }
  config_ = config;
  return {};
}

}  // namespace bulkhead
