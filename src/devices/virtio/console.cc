// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/console.h"

#include <algorithm>
#include <array>
#include <utility>

#include "devices/virtio/spec.h"

namespace bulkhead {
namespace {

constexpr std::uint32_t kStateVersion = 1;
constexpr auto kPort = ConsoleBackend::Port::kVirtio;

constexpr std::uint64_t kFeatureSize = virtio::feature(0);
constexpr std::uint64_t kFeatureEmergencyWrite = virtio::feature(2);

// Without MULTIPORT there is one port, with these queues (virtio 1.2 §5.3.2).
constexpr std::uint16_t kReceive = 0;
constexpr std::uint16_t kTransmit = 1;
constexpr std::array<std::uint16_t, 2> kQueueSizes = {64, 64};

// virtio 1.2 §5.3.4: all fields little-endian.
struct Config {
  std::uint16_t cols = 0;
  std::uint16_t rows = 0;
  std::uint32_t max_nr_ports = 1;
  std::uint32_t emerg_wr = 0;
};
static_assert(sizeof(Config) == 12);
constexpr std::uint64_t kEmergencyWrite = 8;

// Guest bytes are copied in pieces of this size.
constexpr std::size_t kChunkBytes = 4 * kKiB;
// Of one request, which Linux keeps below 64 KiB; the rest of a longer one is not shown.
constexpr std::uint64_t kMaxRequestBytes = 1 * kMiB;
// Of one call; more comes when the event loop comes round.
constexpr std::uint64_t kMaxCallBytes = 256 * kKiB;
// What a request counts besides its bytes, so that empty ones have a limit, too.
constexpr std::uint64_t kRequestWork = 64;

}  // namespace

Result<std::unique_ptr<VirtioConsole>> VirtioConsole::create(DmaSpace& space, EventLoop& loop,
                                                             ConsoleBackend& backend) {
  std::unique_ptr<VirtioConsole> console(new VirtioConsole(space, backend));
  console->service_ = TRY(QueueService::create(loop, *console));
  backend.connect(kPort, console.get());
  return console;
}

VirtioConsole::~VirtioConsole() {
  backend_.connect(kPort, nullptr);
}

void VirtioConsole::resize(Size size) {
  MutexLock guard(lock());
  size_ = size;
  service_->config_changed();
}

std::uint64_t VirtioConsole::offered_features() const {
  return kFeatureSize | kFeatureEmergencyWrite;
}

std::span<const std::uint16_t> VirtioConsole::queue_sizes() const {
  return kQueueSizes;
}

void VirtioConsole::read_config(std::uint64_t offset, std::span<std::byte> bytes) {
  const Config config{.cols = size_.columns, .rows = size_.rows};
  copy_config(std::as_bytes(std::span(&config, 1)), offset, bytes);
}

// A character without queues, for a guest that cannot use them yet or any more (§5.3.4).
void VirtioConsole::write_config(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (offset == kEmergencyWrite && !bytes.empty()) backend_.write(kPort, bytes.first(1));
}

Result<void> VirtioConsole::activate(const VirtioActivation& activation) {
  service_->activate(activation);
  return {};
}

void VirtioConsole::reset() {
  service_->reset();
}

Result<void> VirtioConsole::process_queue(std::uint16_t queue_index) {
  if (queue_index == kTransmit) return transmit();
  // New buffers for input: receive() comes back for them, on this thread, but not from here.
  if (std::exchange(refused_input_, false)) backend_.input_ready(kPort);
  return {};
}

// Linux's console writes 16 bytes at a time and spins until they are taken.
bool VirtioConsole::served_at_exit(std::uint16_t queue_index) const {
  return queue_index == kTransmit;
}

Result<void> VirtioConsole::transmit() {
  const bool more = TRY(service_->serve(
      kTransmit, kMaxCallBytes, [&](const DescriptorChain& chain) -> Result<QueueService::Served> {
        const std::uint64_t bytes = TRY(write_out(chain));
        return QueueService::Served{.written = 0, .work = bytes + kRequestWork};
      }));
  if (more) service_->call_again(kTransmit);
  return {};
}

Result<std::uint64_t> VirtioConsole::write_out(const DescriptorChain& chain) {
  DmaReader reader(space_, chain.readable());
  if (reader.remaining() > kMaxRequestBytes && limiter_.allow()) {
    log_warning("console_output_cut", {{"bytes", reader.remaining()}});
  }
  const std::uint64_t total = std::min(reader.remaining(), kMaxRequestBytes);
  std::array<std::byte, kChunkBytes> buffer;
  for (std::uint64_t left = total; left > 0;) {
    const auto chunk = std::span(buffer).first(std::min<std::uint64_t>(left, buffer.size()));
    TRY(reader.read(chunk));
    backend_.write(kPort, chunk);
    left -= chunk.size();
  }
  return total;
}

std::size_t VirtioConsole::receive(std::span<const std::byte> bytes) {
  MutexLock guard(lock());
  std::span<const std::byte> left = bytes;
  // Ends when the last byte is placed: doorbells stay off then, until buffers are wanted again.
  const Result<bool> served = service_->serve(
      kReceive, bytes.size(), [&](const DescriptorChain& chain) -> Result<QueueService::Served> {
        DmaWriter writer(space_, chain.writable());
        const std::size_t count = std::min<std::uint64_t>(left.size(), writer.remaining());
        TRY(writer.write(left.first(count)));
        left = left.subspan(count);
        return QueueService::Served{.written = static_cast<std::uint32_t>(count), .work = count};
      });
  if (!served) service_->report(served.error());
  refused_input_ = !left.empty();
  return bytes.size() - left.size();
}

void VirtioConsole::save(StateWriter& writer) const {
  writer.put(kStateVersion);
  writer.put(size_.columns);
  writer.put(size_.rows);
}

Result<void> VirtioConsole::restore(StateReader& reader) {
  if (TRY(reader.get<std::uint32_t>()) != kStateVersion) {
    return Error{Errc::kUnsupported, 0, "state of the virtio console: other version"};
  }
  size_.columns = TRY(reader.get<std::uint16_t>());
  size_.rows = TRY(reader.get<std::uint16_t>());
  refused_input_ = true;  // whether or not it did: the next buffers make the backend offer again
  return {};
}

}  // namespace bulkhead
