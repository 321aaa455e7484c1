// SPDX-License-Identifier: Apache-2.0
// A hostile driver of the virtio disk, on a host whose system calls fail: arbitrary requests,
// descriptors, heads and indices, doorbells, configuration accesses, truncations, resets, restores.

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/byte_reader.h"
#include "base/check.h"
#include "base/log.h"
#include "devices/virtio/block.h"
#include "devices/virtio/driver_for_test.h"
#include "mem/engine_for_test.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kFileBytes = 64 * kKiB;
constexpr std::uint16_t kQueueSize = 8;
constexpr std::uint16_t kQueues = 2;

struct Disk {
  Disk(TestDriver& driver, EventLoop& loop, bool read_only) {
    CHECK(::ftruncate(file.get(), kFileBytes) == 0);
    BlockOptions options;
    options.file = file.duplicate().value();
    options.read_only = read_only;
    options.id = "fuzz";
    options.queues = kQueues;
    options.engine = std::make_unique<FaultEngine>(
        create_sync_engine(file.get(), RequestPool::kSize).value(), faults);
    device = VirtioBlock::create(std::move(options), driver.space(), loop).value();
  }

  Fd file{::memfd_create("disk", MFD_CLOEXEC)};
  std::shared_ptr<EngineFaults> faults = std::make_shared<EngineFaults>();
  std::unique_ptr<VirtioBlock> device;
};

// Kept from one input to the next: RAM and descriptors are costly to create.
struct Host {
  Host() {
    set_log_level(LogLevel::kError);
    // Something to write that is not zero.
    std::array<std::byte, kFileBytes> bytes;
    bytes.fill(std::byte{0xa5});
    CHECK(driver.memory().write(Gpa(4 * kMiB), bytes));
  }

  TestDriver driver;
  std::unique_ptr<EventLoop> loop = EventLoop::create().value();
};

class Session {
 public:
  Session(Host& host, bool read_only) : host_(host), disk_(host.driver, *host.loop, read_only) {
    CHECK(start());
  }

  Result<void> step(ByteReader& input);
  // What must hold whatever the driver did.
  void check(bool read_only);

 private:
  Result<void> start() { return host_.driver.start(*disk_.device, {.queue_size = kQueueSize}); }
  Result<void> add_request(ByteReader& input);
  Result<void> put_descriptor(ByteReader& input);
  Result<void> set_faults(ByteReader& input);
  Result<void> access_config(ByteReader& input);
  Result<void> restore(ByteReader& input);
  Result<void> truncate(ByteReader& input);
  Result<void> restart();

  Host& host_;
  Disk disk_;
};

Result<std::uint16_t> queue_from(ByteReader& input) {
  return static_cast<std::uint16_t>(TRY(input.read<std::uint8_t>()) % kQueues);
}

// A header in one or two pieces, data, and a status byte, all of them of odd lengths.
Result<void> Session::add_request(ByteReader& input) {
  const std::uint16_t queue = TRY(queue_from(input));
  const auto type = TRY(input.read<std::uint8_t>());
  const auto sector = TRY(input.read<std::uint16_t>());
  const auto sign = TRY(input.read<std::uint8_t>());
  const auto length = TRY(input.read<std::uint16_t>());
  const auto status_bytes = TRY(input.read<std::uint8_t>());
  const virtio::BlockHeader header{
      .type = type, .sector = sign >= 128 ? ~std::uint64_t{sector} : std::uint64_t{sector}};
  const DmaSegment head = host_.driver.put_value(header);
  const DmaSegment data = host_.driver.allocate(length);
  const virtio::BlockRangeHeader range{sector, length, status_bytes};
  CHECK(
      host_.driver.memory().write(Gpa(data.address.value()), std::as_bytes(std::span(&range, 1))));
  const DmaSegment status = host_.driver.allocate(status_bytes % 3);
  if (type == virtio::kTypeIn || type == virtio::kTypeGetId) {
    host_.driver.add(queue, {head}, {data, status});
  } else {
    host_.driver.add(queue, {head, data}, {status});
  }
  return {};
}

Result<void> Session::put_descriptor(ByteReader& input) {
  const std::uint16_t queue = TRY(queue_from(input));
  const auto index = static_cast<std::uint16_t>(TRY(input.read<std::uint8_t>()) % kQueueSize);
  TestDriver::Descriptor descriptor;
  descriptor.address = 4 * kMiB + TRY(input.read<std::uint32_t>());
  descriptor.length = TRY(input.read<std::uint32_t>());
  descriptor.flags = TRY(input.read<std::uint8_t>());
  descriptor.next = TRY(input.read<std::uint8_t>());
  host_.driver.put_descriptor(queue, index, descriptor);
  host_.driver.offer(queue, index);
  return {};
}

Result<void> Session::set_faults(ByteReader& input) {
  const auto kind = TRY(input.read<std::uint8_t>());
  const auto most = TRY(input.read<std::uint16_t>());
  static constexpr std::array<int, 6> kErrors = {EIO, ENOSPC, EOPNOTSUPP, EAGAIN, EINTR, EINVAL};
  disk_.faults->most_bytes = std::uint64_t{most} + 256;
  disk_.faults->hold = (kind & 64) != 0;
  disk_.faults->refuse = [kind](const IoCommand& command) -> std::optional<std::int32_t> {
    if ((kind & 128) == 0 || (kind & 3) != static_cast<int>(command.kind)) return std::nullopt;
    return -kErrors[(kind >> 2) % kErrors.size()];
  };
  return {};
}

Result<void> Session::access_config(ByteReader& input) {
  const auto offset = TRY(input.read<std::uint64_t>());
  std::array<std::byte, 8> bytes{};
  disk_.device->read_config(offset, bytes);
  disk_.device->write_config(offset, bytes);
  return {};
}

Result<void> Session::restore(ByteReader& input) {
  const auto size = TRY(input.read<std::uint8_t>());
  StateReader reader(TRY(input.take(size)));
  static_cast<void>(disk_.device->restore(reader));
  return {};
}

Result<void> Session::truncate(ByteReader& input) {
  const auto size = TRY(input.read<std::uint16_t>());
  CHECK(::ftruncate(disk_.file.get(), size) == 0);
  return {};
}

Result<void> Session::restart() {
  host_.driver.reset();
  CHECK(disk_.device->in_flight() == 0);
  return start();
}

Result<void> Session::step(ByteReader& input) {
  const auto action = TRY(input.read<std::uint8_t>());
  switch (action % 11) {
    case 0:
    case 1:
      return add_request(input);
    case 2:
      return put_descriptor(input);
    case 3:
      static_cast<void>(host_.driver.ring(TRY(queue_from(input))));
      return {};
    case 4:
      return host_.loop->run_once(0);
    case 5:
      host_.driver.set_available_index(TRY(queue_from(input)), TRY(input.read<std::uint16_t>()));
      return {};
    case 6:
      return set_faults(input);
    case 7:
      return access_config(input);
    case 8:
      return restore(input);
    case 9:
      return truncate(input);
    default:
      return restart();
  }
}

void Session::check(bool read_only) {
  host_.driver.reset();
  CHECK(disk_.device->in_flight() == 0);
  const off_t size = ::lseek(disk_.file.get(), 0, SEEK_END);
  CHECK(size >= 0 && static_cast<std::uint64_t>(size) <= kFileBytes);
  std::array<std::byte, kFileBytes> content;
  const ssize_t got = ::pread(disk_.file.get(), content.data(), content.size(), 0);
  CHECK(got == size);
  for (std::size_t i = 0; read_only && i < static_cast<std::size_t>(got); ++i) {
    CHECK(content[i] == std::byte{0});
  }
}

void run(ByteReader input) {
  static Host host;
  const Result<std::uint8_t> mode = input.read<std::uint8_t>();
  if (!mode) return;
  const bool read_only = (*mode & 1) != 0;
  Session session(host, read_only);
  for (int i = 0; i < 64 && session.step(input); ++i) {
  }
  session.check(read_only);
}

}  // namespace
}  // namespace bulkhead

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  bulkhead::run(bulkhead::ByteReader(std::as_bytes(std::span(data, size))));
  return 0;
}
