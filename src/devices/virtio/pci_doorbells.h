// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/address.h"
#include "base/event_loop.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/result.h"
#include "devices/interrupts.h"

namespace bulkhead {

// An eventfd per queue, which is signalled by KVM where the doorbell is attached to an address, by
// ring() where it is not, and is watched by the event loop.
class VirtioPciDoorbells {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // Called on the event loop's thread.
    virtual void on_doorbell(std::uint16_t queue_index) = 0;
  };

  static Result<std::unique_ptr<VirtioPciDoorbells>> create(std::size_t count, EventLoop& loop,
                                                            DoorbellController& controller,
                                                            Listener& listener);
  ~VirtioPciDoorbells();
  VirtioPciDoorbells(const VirtioPciDoorbells&) = delete;
  VirtioPciDoorbells& operator=(const VirtioPciDoorbells&) = delete;

  // Thread-safe. An index without a doorbell is ignored.
  void ring(std::uint64_t index);
  void ring_all();
  // Where KVM answers writes from now on, if anywhere. If KVM refuses, the writes exit to us and
  // ring() does the same more slowly. The caller serialises calls.
  void place(std::size_t index, std::optional<Gpa> address);

 private:
  class Bell : public EventHandler {
   public:
    Bell(Fd event, std::uint16_t index, Listener& listener)
        : event_(std::move(event)), index_(index), listener_(listener) {}
    void on_ready(std::uint32_t events) override;
    const Fd& event() const { return event_; }

    std::optional<Gpa> address;
    Watch watch;

   private:
    Fd event_;
    std::uint16_t index_;
    Listener& listener_;
  };

  explicit VirtioPciDoorbells(DoorbellController& controller) : controller_(controller) {}

  DoorbellController& controller_;
  LogLimiter log_limit_;
  std::vector<std::unique_ptr<Bell>> bells_;  // the loop keeps their addresses
};

}  // namespace bulkhead
