// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/pci_doorbells.h"

#include <sys/epoll.h>

namespace bulkhead {

Result<std::unique_ptr<VirtioPciDoorbells>> VirtioPciDoorbells::create(
    std::size_t count, EventLoop& loop, DoorbellController& controller, Listener& listener) {
  std::unique_ptr<VirtioPciDoorbells> doorbells(new VirtioPciDoorbells(controller));
  for (std::size_t i = 0; i < count; ++i) {
    auto bell = std::make_unique<Bell>(TRY(Fd::event()), static_cast<std::uint16_t>(i), listener);
    bell->watch = TRY(Watch::create(loop, bell->event().get(), EPOLLIN, *bell));
    doorbells->bells_.push_back(std::move(bell));
  }
  return doorbells;
}

VirtioPciDoorbells::~VirtioPciDoorbells() {
  for (std::size_t i = 0; i < bells_.size(); ++i) place(i, std::nullopt);
}

// Drained before the queue is looked at: a request that arrives later signals again.
void VirtioPciDoorbells::Bell::on_ready(std::uint32_t) {
  if (drain_event(event_.get())) listener_.on_doorbell(index_);
}

void VirtioPciDoorbells::ring(std::uint64_t index) {
  if (index < bells_.size()) signal_event(bells_[index]->event().get());
}

void VirtioPciDoorbells::ring_all() {
  for (const auto& bell : bells_) signal_event(bell->event().get());
}

void VirtioPciDoorbells::place(std::size_t index, std::optional<Gpa> address) {
  Bell& bell = *bells_[index];
  if (bell.address == address) return;
  // Any length of write: KVM need not decode the instruction then, where the CPU lets it.
  if (bell.address) {
    controller_.detach({.address = *bell.address, .length = 0, .value = {}}, bell.event());
    bell.address.reset();
  }
  if (!address) return;
  const auto attached =
      controller_.attach({.address = *address, .length = 0, .value = {}}, bell.event());
  if (attached) {
    bell.address = address;
  } else if (log_limit_.allow()) {
    log_failure("doorbell_not_attached", attached.error(), {{"gpa", *address}});
  }
}

}  // namespace bulkhead
