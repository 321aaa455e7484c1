// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/thread_annotations.h"
#include "devices/bus.h"
#include "devices/console_backend.h"
#include "devices/interrupts.h"
#include "devices/state.h"

namespace bulkhead {

// A 16550A UART (National Semiconductor PC16550D) as the first serial port of a PC. Output leaves
// at once, so the transmitter is always empty. Input waits with the backend until the FIFO has
// room: nothing that the user types is lost to an overrun. Line and modem parameters have no
// effect.
class Serial final : public BusDevice, public ConsoleInput, public Stateful {
 public:
  static constexpr std::uint16_t kBasePort = 0x3f8;
  static constexpr std::uint16_t kPortCount = 8;
  static constexpr std::uint32_t kIrq = 4;
  static constexpr std::size_t kFifoBytes = 16;

  // Connects itself to the backend's serial port for as long as it lives.
  Serial(InterruptLine& line, ConsoleBackend& console);
  ~Serial() override;
  Serial(const Serial&) = delete;
  Serial& operator=(const Serial&) = delete;

  std::string_view name() const override { return "serial"; }
  void read(std::uint64_t offset, std::span<std::byte> bytes) override EXCLUDES(mutex_);
  void write(std::uint64_t offset, std::span<const std::byte> bytes) override EXCLUDES(mutex_);

  std::size_t receive(std::span<const std::byte> bytes) override EXCLUDES(mutex_);

  void save(StateWriter& writer) const override EXCLUDES(mutex_);
  Result<void> restore(StateReader& reader) override EXCLUDES(mutex_);

 private:
  // The receiver's FIFO, or its single holding register while FIFOs are off.
  struct Receiver {
    std::array<std::byte, kFifoBytes> bytes{};
    std::uint8_t count = 0;

    void push(std::byte byte) { bytes[count++] = byte; }
    std::byte pop();
  };
  // As the data sheet names them; bits that always read as 0 are never set.
  struct Registers {
    std::uint8_t ier = 0;
    std::uint8_t fcr = 0;  // kFifoEnable and the trigger level
    std::uint8_t lcr = 0;
    std::uint8_t mcr = 0;
    std::uint8_t lsr_errors = 0;  // kOverrun or nothing
    std::uint8_t msr_deltas = 0;
    std::uint8_t scr = 0;
    std::uint8_t dll = 0;
    std::uint8_t dlm = 0;
    std::uint8_t thre_pending = 0;  // the interrupt, not the state: the latter is always "empty"
  };

  static bool plausible(const Registers& registers, const Receiver& receiver);

  std::uint8_t read_register(std::uint64_t offset) REQUIRES(mutex_);
  std::uint8_t read_rbr() REQUIRES(mutex_);
  std::uint8_t read_iir() REQUIRES(mutex_);
  std::uint8_t read_lsr() REQUIRES(mutex_);
  std::uint8_t read_msr() REQUIRES(mutex_);
  // A byte to transmit, if that is what the write meant.
  std::optional<std::byte> write_register(std::uint64_t offset, std::uint8_t value)
      REQUIRES(mutex_);
  std::optional<std::byte> write_thr(std::uint8_t value) REQUIRES(mutex_);
  void write_ier(std::uint8_t value) REQUIRES(mutex_);
  void write_fcr(std::uint8_t value) REQUIRES(mutex_);
  void write_mcr(std::uint8_t value) REQUIRES(mutex_);

  bool dlab() const REQUIRES(mutex_);
  bool fifo_enabled() const REQUIRES(mutex_);
  bool loopback() const REQUIRES(mutex_);
  std::size_t capacity() const REQUIRES(mutex_) { return fifo_enabled() ? kFifoBytes : 1; }
  std::uint8_t modem_status() const REQUIRES(mutex_);
  std::uint8_t interrupt_id() const REQUIRES(mutex_);
  void update_line() REQUIRES(mutex_);
  // Whether the backend should offer again what did not fit before.
  bool take_input_ready() REQUIRES(mutex_);

  InterruptLine& line_;
  ConsoleBackend& console_;
  mutable Mutex mutex_;
  Registers registers_ GUARDED_BY(mutex_);
  Receiver receiver_ GUARDED_BY(mutex_);
  bool refused_input_ GUARDED_BY(mutex_) = false;
  bool line_high_ GUARDED_BY(mutex_) = false;
};

}  // namespace bulkhead
