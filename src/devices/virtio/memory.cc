// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/memory.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "devices/virtio/spec.h"

namespace bulkhead {
namespace {

constexpr std::uint32_t kStateVersion = 1;

// §5.15.3: memory that is not plugged need not be readable. Offered, and required: behind a unit
// without plugged blocks there is nothing. Linux has it since 5.17.
constexpr std::uint64_t kFeatureUnpluggedInaccessible = virtio::feature(1);

// §5.15.6
constexpr std::uint16_t kPlug = 0;
constexpr std::uint16_t kUnplug = 1;
constexpr std::uint16_t kUnplugAll = 2;
constexpr std::uint16_t kState = 3;

constexpr std::array<std::uint16_t, 1> kQueueSizes = {64};

// Of one call, in units touched by its requests; each may be a conversation with the host.
constexpr std::uint64_t kMaxCallWork = 64;

}  // namespace

struct VirtioMem::Request {
  std::uint16_t type = 0;
  std::array<std::uint16_t, 3> padding{};
  std::uint64_t addr = 0;
  std::uint16_t nb_blocks = 0;
  std::array<std::uint16_t, 3> more_padding{};
};

struct VirtioMem::Response {
  Answer type = Answer::kError;
  std::array<std::uint16_t, 3> padding{};
  State state = State::kPlugged;  // means something in the acknowledgement of kState only
};

VirtioMem::Blocks VirtioMem::Blocks::in_unit(std::uint64_t unit) const {
  const std::uint64_t begin = std::max(first, unit * kUnitBlocks);
  const std::uint64_t end = std::min(first + count, (unit + 1) * kUnitBlocks);
  return {begin, end - begin};
}

std::uint64_t VirtioMem::Blocks::mask(std::uint64_t unit) const {
  const Blocks part = in_unit(unit);
  const std::uint64_t ones = ~std::uint64_t{0} >> (kUnitBlocks - part.count);
  return ones << (part.first % kUnitBlocks);
}

VirtioMem::VirtioMem(const Region& region, DmaSpace& space, MemoryResizer& resizer)
    : space_(space),
      resizer_(resizer),
      plugged_(region.size_bytes / kGrowthUnit),
      present_(region.size_bytes / kGrowthUnit) {
  config_.addr = region.base.value();
  config_.region_size = region.size_bytes;
  config_.usable_region_size = region.size_bytes;
}

Result<std::unique_ptr<VirtioMem>> VirtioMem::create(const Region& region, DmaSpace& space,
                                                     EventLoop& loop, MemoryResizer& resizer) {
  if (region.base.value() % kGrowthUnit != 0 || region.size_bytes % kGrowthUnit != 0) {
    return Error{Errc::kInvalidArgument, 0, "pluggable memory comes in units of 128 MiB"};
  }
  if (region.size_bytes == 0 || region.size_bytes > kMaxRegion ||
      region.size_bytes > std::numeric_limits<std::uint64_t>::max() - region.base.value()) {
    return Error{Errc::kOutOfRange, 0, "the region of pluggable memory is empty or too large"};
  }
  std::unique_ptr<VirtioMem> memory(new VirtioMem(region, space, resizer));
  memory->service_ = TRY(QueueService::create(loop, *memory));
  return memory;
}

Result<void> VirtioMem::set_requested_size(std::uint64_t bytes) {
  if (bytes % kBlockSize != 0) {
    return Error{Errc::kInvalidArgument, 0, "memory is plugged in blocks of 2 MiB"};
  }
  MutexLock guard(lock());
  if (bytes > config_.region_size) {
    return Error{Errc::kOutOfRange, 0, "the partition was not started to grow that large"};
  }
  config_.requested_size = bytes;
  service_->config_changed();
  return {};
}

void VirtioMem::unplug_all() {
  MutexLock guard(lock());
  unplug_all_blocks();
}

VirtioMem::Counters VirtioMem::counters() {
  MutexLock guard(lock());
  return {config_.requested_size, config_.plugged_size, config_.usable_region_size, present_units_};
}

std::uint64_t VirtioMem::offered_features() const {
  return kFeatureUnpluggedInaccessible;
}

std::span<const std::uint16_t> VirtioMem::queue_sizes() const {
  return kQueueSizes;
}

void VirtioMem::read_config(std::uint64_t offset, std::span<std::byte> bytes) {
  copy_config(std::as_bytes(std::span(&config_, 1)), offset, bytes);
}

Result<void> VirtioMem::activate(const VirtioActivation& activation) {
  if ((activation.features & kFeatureUnpluggedInaccessible) == 0) {
    return Error{Errc::kUnsupported, 0, "the driver wants to read memory that is not plugged"};
  }
  service_->activate(activation);
  return {};
}

Result<void> VirtioMem::process_queue(std::uint16_t queue_index) {
  const auto serve_one = [this](const DescriptorChain& chain) { return handle(chain); };
  if (TRY(service_->serve(queue_index, kMaxCallWork, serve_one))) service_->call_again(queue_index);
  return {};
}

// Nothing is done for a driver that leaves no room for the answer: it would not know.
Result<QueueService::Served> VirtioMem::handle(const DescriptorChain& chain) {
  static_assert(sizeof(Request) == 24 && sizeof(Response) == 10);
  DmaReader reader(space_, chain.readable());
  const auto request = TRY(reader.read<Request>());
  DmaWriter writer(space_, chain.writable());
  if (writer.remaining() < sizeof(Response)) {
    return Error{Errc::kTruncated, 0, "a memory request without room for its answer"};
  }
  TRY(writer.write_value(answer(request)));
  const std::uint64_t units =
      request.type == kUnplugAll ? plugged_.size() : request.nb_blocks / kUnitBlocks + 1;
  return QueueService::Served{.written = sizeof(Response), .work = units};
}

VirtioMem::Response VirtioMem::answer(const Request& request) {
  if (request.type == kUnplugAll) {
    unplug_all_blocks();
    return {.type = Answer::kAck};
  }
  const std::optional<Blocks> blocks = blocks_of(request);
  if (!blocks) return {.type = Answer::kError};
  if (request.type == kPlug) return {.type = plug(*blocks)};
  if (request.type == kUnplug) return {.type = unplug(*blocks)};
  if (request.type == kState) return {.type = Answer::kAck, .state = state_of(*blocks)};
  return {.type = Answer::kError};
}

// Nothing where the request is misaligned, empty, or leaves the region.
std::optional<VirtioMem::Blocks> VirtioMem::blocks_of(const Request& request) const {
  // An address below the region gives an offset far above its size.
  const std::uint64_t offset = Gpa(request.addr) - Gpa(config_.addr);
  const Blocks blocks{offset / kBlockSize, request.nb_blocks};
  if (offset % kBlockSize != 0 || blocks.count == 0) return std::nullopt;
  if (!range_fits(offset, blocks.size_bytes(), config_.usable_region_size)) return std::nullopt;
  return blocks;
}

VirtioMem::State VirtioMem::state_of(const Blocks& blocks) const {
  std::uint64_t plugged = 0;
  for (std::uint64_t unit = blocks.first_unit(); unit < blocks.end_unit(); ++unit) {
    plugged += static_cast<std::uint64_t>(std::popcount(plugged_[unit] & blocks.mask(unit)));
  }
  if (plugged == 0) return State::kUnplugged;
  return plugged == blocks.count ? State::kPlugged : State::kMixed;
}

// What the driver cannot have now, it may have later. Linux takes NACK for news that the requested
// size changed, and asks again at once; after BUSY it waits for a minute (drivers/virtio/
// virtio_mem.c, virtio_mem_run_wq).
VirtioMem::Answer VirtioMem::plug(const Blocks& blocks) {
  if (state_of(blocks) != State::kUnplugged) return Answer::kError;
  if (config_.plugged_size + blocks.size_bytes() > config_.requested_size) return Answer::kNack;
  if (!add_units(blocks)) {
    remove_idle_units();
    return Answer::kBusy;
  }
  for (std::uint64_t unit = blocks.first_unit(); unit < blocks.end_unit(); ++unit) {
    plugged_[unit] |= blocks.mask(unit);
  }
  config_.plugged_size += blocks.size_bytes();
  return Answer::kAck;
}

VirtioMem::Answer VirtioMem::unplug(const Blocks& blocks) {
  if (state_of(blocks) != State::kPlugged) return Answer::kError;
  config_.plugged_size -= blocks.size_bytes();
  for (std::uint64_t unit = blocks.first_unit(); unit < blocks.end_unit(); ++unit) {
    plugged_[unit] &= ~blocks.mask(unit);
    if (plugged_[unit] != 0) discard(blocks.in_unit(unit));
  }
  remove_idle_units();
  return Answer::kAck;
}

void VirtioMem::unplug_all_blocks() {
  std::fill(plugged_.begin(), plugged_.end(), 0);
  config_.plugged_size = 0;
  remove_idle_units();
}

// False when the host has no more, or the driver is not to have more units; some may have been
// added then.
bool VirtioMem::add_units(const Blocks& blocks) {
  const std::uint64_t allowed = (config_.requested_size + kGrowthUnit - 1) / kGrowthUnit;
  for (std::uint64_t unit = blocks.first_unit(); unit < blocks.end_unit(); ++unit) {
    if (present_[unit]) continue;
    if (present_units_ >= allowed) return false;
    if (const Result<void> added = add_unit(unit); !added) {
      warn("memory_add", added.error());
      return false;
    }
  }
  return true;
}

Result<void> VirtioMem::add_unit(std::uint64_t unit) {
  TRY(resizer_.add_unit(UnitIndex(unit)));
  present_[unit] = true;
  ++present_units_;
  return {};
}

// The content of a unit that the host fails to take back is given up all the same.
void VirtioMem::remove_idle_units() {
  for (std::uint64_t unit = 0; unit < plugged_.size(); ++unit) {
    if (!present_[unit] || plugged_[unit] != 0) continue;
    if (const Result<void> removed = resizer_.remove_unit(UnitIndex(unit)); !removed) {
      warn("memory_remove", removed.error());
      discard({unit * kUnitBlocks, kUnitBlocks});
      continue;
    }
    present_[unit] = false;
    --present_units_;
  }
}

void VirtioMem::discard(const Blocks& blocks) {
  const Result<void> done = resizer_.discard(address_of(blocks.first), blocks.size_bytes());
  if (!done) warn("memory_discard", done.error());
}

void VirtioMem::warn(std::string_view event, const Error& error) {
  if (!limiter_.allow()) return;
  log_warning(event, {{"requested", config_.requested_size}, {"error", error.what}});
}

void VirtioMem::save(StateWriter& writer) const {
  writer.put(kStateVersion);
  writer.put(config_.addr);
  writer.put(config_.region_size);
  writer.put(config_.requested_size);
  writer.put_bytes(std::as_bytes(std::span(plugged_)));
}

Result<void> VirtioMem::restore(StateReader& reader) {
  if (TRY(reader.get<std::uint32_t>()) != kStateVersion) {
    return Error{Errc::kUnsupported, 0, "state of the virtio memory device: other version"};
  }
  const auto addr = TRY(reader.get<std::uint64_t>());
  const auto region_size = TRY(reader.get<std::uint64_t>());
  const auto requested = TRY(reader.get<std::uint64_t>());
  if (addr != config_.addr || region_size != config_.region_size || requested % kBlockSize != 0 ||
      requested > region_size) {
    return Error{Errc::kMalformed, 0, "state of the virtio memory device: of another region"};
  }
  std::vector<std::uint64_t> plugged(plugged_.size());
  TRY(reader.get_bytes(std::as_writable_bytes(std::span(plugged))));
  for (std::uint64_t unit = 0; unit < plugged.size(); ++unit) {
    if (plugged[unit] != 0 && !present_[unit]) TRY(add_unit(unit));
  }
  plugged_ = std::move(plugged);
  config_.requested_size = requested;
  config_.plugged_size = 0;
  for (const std::uint64_t word : plugged_) {
    config_.plugged_size += static_cast<std::uint64_t>(std::popcount(word)) * kBlockSize;
  }
  remove_idle_units();
  return {};
}

}  // namespace bulkhead
