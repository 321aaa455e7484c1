// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/virtio/block.h"
#include "devices/virtio/block_spec.h"
#include "devices/virtio/driver_for_test.h"

namespace bulkhead {
namespace {

struct Gate : DmaTranslator {
  Result<DmaRun> translate(DmaAddr from, std::uint64_t length, DmaAccess) const override {
    if (closed) return Error{Errc::kOutOfRange, 0, "not guest RAM"};
    return DmaRun{Gpa(from.value()), length};
  }
  bool closed = false;
};

// A guest that takes away the memory of its queue cannot keep its partition from being suspended.
TEST(BlockQuiesce, EndsWhenTheDriverCannotBeToldOfAnything) {
  Gate gate;
  TestDriver driver(&gate);
  const auto loop = EventLoop::create().value();
  BlockOptions options{.file = Fd(::memfd_create("disk", MFD_CLOEXEC))};
  ASSERT_EQ(::ftruncate(options.file.get(), 1 * kMiB), 0);
  const auto device = VirtioBlock::create(std::move(options), driver.space(), *loop).value();
  ASSERT_TRUE(driver.start(*device));
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(driver.add(0, {driver.put_value(virtio::BlockHeader{.type = virtio::kTypeFlush})},
                           {driver.put_value(std::uint8_t{0xff})}));
  }
  ASSERT_TRUE(driver.ring(0));
  gate.closed = true;
  EXPECT_TRUE(device->quiesce());
  EXPECT_EQ(device->in_flight(), 0u);
}

}  // namespace
}  // namespace bulkhead
