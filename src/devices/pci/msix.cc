// SPDX-License-Identifier: Apache-2.0
#include "devices/pci/msix.h"

#include <algorithm>

#include "base/address.h"
#include "base/byte_reader.h"
#include "base/check.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kEntrySize = 16;
constexpr std::size_t kVectorControl = 3;
constexpr std::uint32_t kMasked = 1;

// PCI Local Bus 3.0 §6.8.2: software uses aligned double words or quad words.
bool well_formed(std::uint64_t offset, std::size_t length, std::uint64_t limit) {
  return (length == 4 || length == 8) && offset % length == 0 && range_fits(offset, length, limit);
}

}  // namespace

Result<std::unique_ptr<Msix>> Msix::create(MsiController& controller, std::uint16_t vectors) {
  CHECK(vectors > 0 && vectors <= kMaxVectors);
  std::unique_ptr<Msix> msix(new Msix());
  msix->entries_.resize(vectors);
  for (Entry& entry : msix->entries_) {
    entry.vector = TRY(controller.create_vector());
    entry.words[kVectorControl] = kMasked;
  }
  return msix;
}

std::array<std::byte, 10> Msix::capability(const Place& place) const {
  std::array<std::byte, 10> body{};
  put_le<std::uint16_t>(body, 0, static_cast<std::uint16_t>(entries_.size() - 1));
  put_le<std::uint32_t>(body, 2, place.table | place.bar);
  put_le<std::uint32_t>(body, 6, place.pending | place.bar);
  return body;
}

void Msix::set_control(const Control& control) {
  MutexLock lock(mutex_);
  if (control.enabled == control_.enabled && control.masked == control_.masked) return;
  control_ = control;
  for (Entry& entry : entries_) update(entry);
}

bool Msix::deliverable(const Entry& entry) const {
  return control_.enabled && !control_.masked && (entry.words[kVectorControl] & kMasked) == 0;
}

void Msix::update(Entry& entry) {
  if (!control_.enabled) entry.pending = false;
  if (!deliverable(entry)) return;
  const MsiMessage message{std::uint64_t{entry.words[1]} << 32 | entry.words[0], entry.words[2]};
  if (!entry.programmed || entry.message != message) {
    const Result<void> done = entry.vector->program(message);
    // The host failed. The guest loses this vector's interrupts until it programs it again.
    if (!done && log_limit_.allow()) log_failure("msix_vector_not_programmed", done.error());
    entry.programmed = done.has_value();
    entry.message = message;
  }
  if (entry.pending && entry.programmed) {
    entry.pending = false;
    entry.vector->trigger();
  }
}

void Msix::read_table(std::uint64_t offset, std::span<std::byte> bytes) const {
  std::ranges::fill(bytes, std::byte{0});
  if (!well_formed(offset, bytes.size(), entries_.size() * kEntrySize)) return;
  MutexLock lock(mutex_);
  const Words& words = entries_[offset / kEntrySize].words;
  std::ranges::copy(std::as_bytes(std::span(words)).subspan(offset % kEntrySize, bytes.size()),
                    bytes.begin());
}

void Msix::write_table(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (!well_formed(offset, bytes.size(), entries_.size() * kEntrySize)) return;
  MutexLock lock(mutex_);
  Entry& entry = entries_[offset / kEntrySize];
  std::ranges::copy(bytes, std::as_writable_bytes(std::span(entry.words))
                               .subspan(offset % kEntrySize, bytes.size())
                               .begin());
  entry.words[0] &= ~std::uint32_t{3};  // messages are aligned double words
  entry.words[kVectorControl] &= kMasked;
  update(entry);
}

void Msix::read_pending(std::uint64_t offset, std::span<std::byte> bytes) const {
  std::ranges::fill(bytes, std::byte{0});
  if (!well_formed(offset, bytes.size(), align_up(entries_.size(), 64) / 8)) return;
  MutexLock lock(mutex_);
  const std::size_t last = std::min(entries_.size(), (offset + bytes.size()) * 8);
  for (std::size_t i = offset * 8; i < last; ++i) {
    if (entries_[i].pending) bytes[i / 8 - offset] |= std::byte{1} << (i % 8);
  }
}

bool Msix::trigger(std::uint16_t vector) {
  MutexLock lock(mutex_);
  if (!control_.enabled) return false;
  if (vector >= entries_.size()) return true;
  Entry& entry = entries_[vector];
  if (!deliverable(entry)) {
    entry.pending = true;
  } else if (entry.programmed) {
    entry.vector->trigger();
  }
  return true;
}

void Msix::save(StateWriter& writer) const {
  MutexLock lock(mutex_);
  for (const Entry& entry : entries_) {
    writer.put(entry.words);
    writer.put(static_cast<std::uint8_t>(entry.pending));
  }
}

Result<void> Msix::restore(StateReader& reader) {
  MutexLock lock(mutex_);
  for (Entry& entry : entries_) {
    entry.words = TRY(reader.get<Words>());
    entry.words[0] &= ~std::uint32_t{3};
    entry.words[kVectorControl] &= kMasked;
    entry.pending = TRY(reader.get<std::uint8_t>()) != 0;
    update(entry);
  }
  return {};
}

}  // namespace bulkhead
