// SPDX-License-Identifier: Apache-2.0
#include "vmm/exit_dispatcher.h"

#include <algorithm>

namespace bulkhead {
namespace {

template <class... Handlers>
struct Overloaded : Handlers... {
  using Handlers::operator()...;
};

}  // namespace

bool ExitDispatcher::handle(std::uint32_t vcpu_id, const kvm::Exit& exit) {
  // std::visit refuses to compile when a kind of exit has no handler.
  return std::visit(
      Overloaded{
          [&](const kvm::PioOut& e) { return port_out(e); },
          [&](const kvm::PioIn& e) { return port_in(e); },
          [&](const kvm::MmioRead& e) { return mmio_read(e); },
          [&](const kvm::MmioWrite& e) { return mmio_write(vcpu_id, e); },
          [&](const kvm::Interrupted&) { return true; },
          [&](const kvm::Halt&) { return true; },
          [&](const kvm::Shutdown&) { return end(vcpu_id, Outcome::kTripleFault, {}); },
          [&](const kvm::SystemEvent& e) {
            return end(vcpu_id, Outcome::kViolation, {{"why", "system_event"}, {"type", e.type}});
          },
          [&](const kvm::EmulationFailure& e) {
            return end(vcpu_id, Outcome::kViolation,
                       {{"why", "cannot_emulate"}, {"bytes", e.instruction_size}});
          },
          [&](const kvm::InternalError& e) {
            return end(vcpu_id, Outcome::kViolation,
                       {{"why", "kvm_internal"}, {"suberror", e.suberror}, {"detail", e.detail}});
          },
          [&](const kvm::EntryFailed& e) {
            return end(vcpu_id, Outcome::kViolation,
                       {{"why", "entry_failed"}, {"reason", e.reason}});
          },
          [&](const kvm::MemoryFault& e) {
            return end(vcpu_id, Outcome::kFailed, {{"why", "memory_fault"}, {"gpa", e.gpa}});
          },
          [&](const kvm::Unknown& e) {
            return end(vcpu_id, Outcome::kFailed, {{"why", "unknown_exit"}, {"reason", e.reason}});
          },
      },
      exit);
}

// `count` is bounded by KVM to a page's worth, and checked against the buffer by kvm/.
bool ExitDispatcher::port_out(const kvm::PioOut& exit) {
  for (std::uint32_t i = 0; i < exit.count; ++i) {
    targets_.ports.write(exit.port.value(),
                         exit.bytes.subspan(i * std::size_t{exit.size}, exit.size));
  }
  return true;
}

bool ExitDispatcher::port_in(const kvm::PioIn& exit) {
  for (std::uint32_t i = 0; i < exit.count; ++i) {
    targets_.ports.read(exit.port.value(),
                        exit.bytes.subspan(i * std::size_t{exit.size}, exit.size));
  }
  return true;
}

bool ExitDispatcher::mmio_read(const kvm::MmioRead& exit) {
  if (!targets_.mmio.read(exit.gpa.value(), exit.bytes) && unclaimed_.allow()) {
    log_debug("unclaimed_read", {{"gpa", exit.gpa}, {"bytes", exit.bytes.size()}});
  }
  return true;
}

bool ExitDispatcher::mmio_write(std::uint32_t vcpu_id, const kvm::MmioWrite& exit) {
  if (targets_.mmio.write(exit.gpa.value(), exit.bytes)) return true;
  if (!targets_.memory.contains(exit.gpa, exit.bytes.size())) {
    if (unclaimed_.allow()) {
      log_debug("unclaimed_write", {{"gpa", exit.gpa}, {"bytes", exit.bytes.size()}});
    }
    return true;
  }
  if (targets_.protected_stores != nullptr) {
    return targets_.protected_stores->on_protected_store(vcpu_id, exit);
  }
  return end(vcpu_id, Outcome::kViolation, {{"why", "protected_store"}, {"gpa", exit.gpa}});
}

bool ExitDispatcher::end(std::uint32_t vcpu_id, Outcome outcome, LogFields why) {
  log_warning("vcpu_ended", {{"vcpu", vcpu_id}, {"outcome", to_string(outcome)}});
  if (why.size() > 0) log_event(LogLevel::kWarning, "vcpu_ended_why", why);
  targets_.outcome.finish(outcome);
  return false;
}

}  // namespace bulkhead
