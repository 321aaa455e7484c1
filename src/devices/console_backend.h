// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

namespace bulkhead {

// A console device's end towards the guest: takes what the user types.
class ConsoleInput {
 public:
  virtual ~ConsoleInput() = default;
  // Takes as much as fits, and returns how much that was. Called on the event loop's thread.
  virtual std::size_t receive(std::span<const std::byte> bytes) = 0;
};

// A console device's end towards the user: a terminal, a socket, a log. Thread-safe.
class ConsoleBackend {
 public:
  virtual ~ConsoleBackend() = default;

  // Which of the guest's consoles speaks. Input follows the one that wrote last.
  enum class Port : unsigned char { kSerial, kVirtio };

  // Where input for a port goes; nullptr unplugs it.
  virtual void connect(Port port, ConsoleInput* input) = 0;
  // Takes all of the bytes without blocking. When the user's end is slow for long, the oldest
  // output is dropped and counted: a guest cannot stall the monitor, nor fill its memory.
  virtual void write(Port port, std::span<const std::byte> bytes) = 0;
  // The device can take input again after receive() took less than was offered.
  virtual void input_ready(Port port) = 0;
};

}  // namespace bulkhead
