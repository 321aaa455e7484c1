// SPDX-License-Identifier: Apache-2.0
#include "mem/dma_space.h"

#include <algorithm>
#include <cerrno>

namespace bulkhead {
namespace {

Error no_room() {
  return Error{Errc::kTruncated, 0, "descriptors hold too few bytes"};
}

}  // namespace

Result<DmaRun> DmaSpace::translate(DmaAddr from, std::uint64_t length, DmaAccess access) const {
  if (translator_ == nullptr) return DmaRun{Gpa(from.value()), length};
  DmaRun run = TRY(translator_->translate(from, length, access));
  CHECK(run.length > 0 && run.length <= length);
  return run;
}

Result<Gpa> DmaSpace::translate_cell(DmaAddr from, std::uint64_t size, DmaAccess access) const {
  const DmaRun run = TRY(translate(from, size, access));
  if (run.length < size) return Error{Errc::kOutOfRange, 0, "a field crosses a mapping"};
  return run.base;
}

Result<void> DmaSpace::read(DmaAddr from, std::span<std::byte> to) const {
  while (!to.empty()) {
    const DmaRun run = TRY(translate(from, to.size(), DmaAccess::kRead));
    TRY(memory_.read(run.base, to.first(run.length)));
    from = from + run.length;
    to = to.subspan(run.length);
  }
  return {};
}

Result<void> DmaSpace::write(DmaAddr to, std::span<const std::byte> from) const {
  while (!from.empty()) {
    const DmaRun run = TRY(translate(to, from.size(), DmaAccess::kWrite));
    TRY(memory_.write(run.base, from.first(run.length)));
    to = to + run.length;
    from = from.subspan(run.length);
  }
  return {};
}

bool DmaSpace::reachable(const DmaSegment& segment, DmaAccess access) const {
  DmaAddr address = segment.address;
  std::uint64_t left = segment.length;
  while (left > 0) {
    const Result<DmaRun> run = translate(address, left, access);
    if (!run || !memory_.contains(run->base, run->length)) return false;
    address = address + run->length;
    left -= run->length;
  }
  return true;
}

Result<void> DmaSpace::discard(const DmaSegment& segment) const {
  DmaAddr address = segment.address;
  std::uint64_t left = segment.length;
  while (left > 0) {
    const DmaRun run = TRY(translate(address, left, DmaAccess::kWrite));
    TRY(memory_.discard(run.base, run.length));
    address = address + run.length;
    left -= run.length;
  }
  return {};
}

Result<void> DmaSpace::append_vectors(const DmaSegment& segment, DmaAccess access,
                                      std::span<iovec> vectors, std::size_t& used) const {
  DmaAddr address = segment.address;
  std::uint64_t left = segment.length;
  while (left > 0) {
    if (used == vectors.size()) return Error{Errc::kExhausted, 0, "too many pieces of memory"};
    const DmaRun run = TRY(translate(address, left, access));
    std::byte* host = memory_.host(run.base, run.length);
    if (host == nullptr) return GuestMemory::bad_range();
    vectors[used++] = {host, run.length};
    address = address + run.length;
    left -= run.length;
  }
  return {};
}

void DmaSpace::note_written(const DmaSegment& segment) const {
  if (!memory_.logs_dirty()) return;
  DmaAddr address = segment.address;
  std::uint64_t left = segment.length;
  while (left > 0) {
    const Result<DmaRun> run = translate(address, left, DmaAccess::kWrite);
    if (!run) return;  // unmapped meanwhile: the driver gave up the buffer
    memory_.mark_dirty(run->base, run->length);
    address = address + run->length;
    left -= run->length;
  }
}

DmaCursor::DmaCursor(const DmaSpace& space, std::span<const DmaSegment> segments)
    : space_(space), segments_(segments) {
  for (const DmaSegment& segment : segments) remaining_ += segment.length;
  skip(0);
}

void DmaCursor::skip(std::uint64_t count) {
  CHECK(count <= remaining_);
  remaining_ -= count;
  // Also steps over segments of length 0, so that current() is never empty while bytes remain.
  while (index_ < segments_.size()) {
    const std::uint64_t here = segments_[index_].length - offset_;
    if (count < here) {
      offset_ += static_cast<std::uint32_t>(count);
      return;
    }
    count -= here;
    ++index_;
    offset_ = 0;
  }
}

DmaSegment DmaCursor::current(std::uint64_t limit) const {
  CHECK(index_ < segments_.size());
  const DmaSegment& segment = segments_[index_];
  const std::uint64_t here = segment.length - offset_;
  return {segment.address + offset_, static_cast<std::uint32_t>(std::min(here, limit))};
}

Result<std::size_t> DmaCursor::collect(std::uint64_t max_bytes, DmaAccess access,
                                       std::span<iovec> vectors) const {
  std::size_t used = 0;
  DmaCursor ahead = *this;
  std::uint64_t left = std::min(max_bytes, remaining_);
  while (left > 0) {
    const DmaSegment piece = ahead.current(left);
    TRY(space_.append_vectors(piece, access, vectors, used));
    ahead.skip(piece.length);
    left -= piece.length;
  }
  return used;
}

void DmaCursor::note_written(std::uint64_t max_bytes) const {
  DmaCursor ahead = *this;
  std::uint64_t left = std::min(max_bytes, remaining_);
  while (left > 0) {
    const DmaSegment piece = ahead.current(left);
    space_.note_written(piece);
    ahead.skip(piece.length);
    left -= piece.length;
  }
}

Result<void> DmaReader::read(std::span<std::byte> to) {
  if (to.size() > remaining()) return no_room();
  while (!to.empty()) {
    const DmaSegment piece = current(to.size());
    TRY(space_.read(piece.address, to.first(piece.length)));
    skip(piece.length);
    to = to.subspan(piece.length);
  }
  return {};
}

Result<std::size_t> DmaReader::write_to(int fd, std::uint64_t max_bytes,
                                        std::span<const std::byte> prefix) {
  std::array<iovec, DmaSpace::kMaxVectors> vectors;
  const std::size_t first = prefix.empty() ? 0 : 1;
  // writev(2) does not write to its source.
  vectors[0] = {const_cast<std::byte*>(prefix.data()), prefix.size()};
  const std::size_t used =
      TRY(collect(max_bytes, DmaAccess::kRead, std::span(vectors).subspan(first)));
  const ssize_t count = ::writev(fd, vectors.data(), static_cast<int>(first + used));
  if (count < 0) return os_error("cannot write");
  const auto taken = static_cast<std::size_t>(count);
  if (taken > prefix.size()) skip(taken - prefix.size());
  return taken;
}

Result<void> DmaWriter::write(std::span<const std::byte> from) {
  if (from.size() > remaining()) return no_room();
  while (!from.empty()) {
    const DmaSegment piece = current(from.size());
    TRY(space_.write(piece.address, from.first(piece.length)));
    skip(piece.length);
    from = from.subspan(piece.length);
  }
  return {};
}

Result<std::size_t> DmaWriter::read_from(int fd, std::uint64_t max_bytes) {
  std::array<iovec, DmaSpace::kMaxVectors> vectors;
  const std::size_t used = TRY(collect(max_bytes, DmaAccess::kWrite, vectors));
  const ssize_t count = ::readv(fd, vectors.data(), static_cast<int>(used));
  const int error = errno;
  note_written(max_bytes);  // after a failure too: some bytes may have come
  if (count < 0) return os_error(error, "cannot read");
  skip(static_cast<std::uint64_t>(count));
  return static_cast<std::size_t>(count);
}

}  // namespace bulkhead
