// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/net_receiver.h"

#include <algorithm>

namespace bulkhead {

using virtio_net::Header;

Result<NetReceiver::Outcome> NetReceiver::run(VirtQueue& queue, std::uint64_t features) {
  forget(in_hand());  // what an error left there is the previous driver's
  TRY(queue.disable_doorbell());
  Outcome outcome = TRY(receive_batch(queue, features));
  // With all chains in hand the queue is empty, so that the next one to come rings.
  if (outcome == Outcome::kStarved && TRY(queue.enable_doorbell())) outcome = Outcome::kMore;
  put_back(queue);
  return outcome;
}

Result<NetReceiver::Outcome> NetReceiver::receive_batch(VirtQueue& queue, std::uint64_t features) {
  for (unsigned round = 0; round < kMaxFrames; ++round) {
    const Outcome outcome = TRY(receive_one(queue, features));
    if (outcome != Outcome::kMore) return outcome;
  }
  return Outcome::kMore;
}

Result<NetReceiver::Outcome> NetReceiver::receive_one(VirtQueue& queue, std::uint64_t features) {
  TRY(gather(queue, features, backend_.wanted_room()));
  if (in_hand() == 0) return Outcome::kStarved;
  DmaWriter writer(space_, segments(segment_count_ - first_segment_));
  const NetBackend::Received received = TRY(backend_.receive(writer));
  using Kind = NetBackend::Received::Kind;
  switch (received.kind) {
    case Kind::kFrame:
      return finish(queue, features, received.size);
    case Kind::kNothing:
      return Outcome::kIdle;
    case Kind::kNeedsRoom:
      return make_room(queue, features, received.size);
    case Kind::kDropped:
      return Outcome::kMore;
    case Kind::kClosed:
      break;
  }
  return Outcome::kClosed;
}

Result<NetReceiver::Outcome> NetReceiver::make_room(VirtQueue& queue, std::uint64_t features,
                                                    std::size_t size) {
  switch (TRY(gather(queue, features, size))) {
    case Gathered::kEnough:
      return Outcome::kMore;
    case Gathered::kStarved:
      return Outcome::kStarved;
    case Gathered::kFull:
      break;
  }
  backend_.drop_waiting();
  ++dropped_;
  return Outcome::kMore;
}

Result<NetReceiver::Gathered> NetReceiver::gather(VirtQueue& queue, std::uint64_t features,
                                                  std::size_t room) {
  const std::size_t most = (features & virtio_net::kMrgRxbuf) != 0 ? queue.size() : 1;
  while (room_ < room) {
    if (in_hand() >= most) return Gathered::kFull;
    if (!TRY(queue.pop(chain_))) return Gathered::kStarved;
    if (!TRY(take())) {
      queue.unpop();
      return Gathered::kFull;
    }
  }
  return Gathered::kEnough;
}

Result<bool> NetReceiver::take() {
  const auto writable = chain_.writable();
  std::uint64_t room = 0;
  for (const DmaSegment& segment : writable) room += segment.length;
  // virtio 1.2 §5.1.6.3.1: each buffer holds at least the header.
  if (room < sizeof(Header)) return Error{Errc::kMalformed, 0, "a receive buffer is too small"};
  if (buffer_count_ == buffers_.size() || writable.size() > kMaxSegments - segment_count_) {
    compact();
  }
  if (writable.size() > kMaxSegments - segment_count_) return false;
  buffers_[buffer_count_++] = {chain_.head(), static_cast<std::uint16_t>(writable.size()), room};
  std::ranges::copy(writable, segments_.begin() + static_cast<std::ptrdiff_t>(segment_count_));
  segment_count_ += writable.size();
  room_ += room;
  return true;
}

Result<NetReceiver::Outcome> NetReceiver::finish(VirtQueue& queue, std::uint64_t features,
                                                 std::size_t size) {
  std::array<VirtQueue::Used, kMaxQueueSize> used;
  std::uint16_t count = 0;
  // Every buffer but the last is filled (virtio 1.2 §5.1.6.4.1).
  while (size > 0) {
    const Buffer& buffer = buffers_[first_buffer_ + count];
    const auto share = static_cast<std::uint32_t>(std::min<std::uint64_t>(size, buffer.room));
    used[count++] = {buffer.head, share};
    size -= share;
  }
  TRY(complete_header(features, count));
  TRY(queue.push(std::span(used).first(count)));
  forget(count);
  return Outcome::kMore;
}

Result<void> NetReceiver::complete_header(std::uint64_t features, std::uint16_t num_buffers) {
  DmaWriter header(space_, segments(buffers_[first_buffer_].segments));
  // A kernel may say DATA_VALID to a driver that did not ask (virtio 1.2 §5.1.6.4.1).
  if ((features & virtio_net::kGuestCsum) == 0) {
    TRY(header.write_value<std::uint8_t>(0));
    header.skip(offsetof(Header, num_buffers) - 1);
  } else {
    header.skip(offsetof(Header, num_buffers));
  }
  return header.write_value(num_buffers);
}

void NetReceiver::compact() {
  const auto move_down = [](auto& items, std::size_t& first, std::size_t& count) {
    const auto begin = items.begin();
    std::copy(begin + static_cast<std::ptrdiff_t>(first),
              begin + static_cast<std::ptrdiff_t>(count), begin);
    count -= first;
    first = 0;
  };
  move_down(buffers_, first_buffer_, buffer_count_);
  move_down(segments_, first_segment_, segment_count_);
}

void NetReceiver::forget(std::size_t buffers) {
  for (; buffers > 0; --buffers) {
    const Buffer& buffer = buffers_[first_buffer_++];
    first_segment_ += buffer.segments;
    room_ -= buffer.room;
  }
  if (in_hand() == 0) first_buffer_ = buffer_count_ = first_segment_ = segment_count_ = 0;
}

void NetReceiver::put_back(VirtQueue& queue) {
  for (std::size_t i = in_hand(); i > 0; --i) queue.unpop();
  forget(in_hand());
}

}  // namespace bulkhead
