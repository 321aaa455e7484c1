// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

// What a monitor and its `bulkhead-vtpm` say to each other: docs/formats/vtpm.md. One datagram of a
// SOCK_SEQPACKET pair is one message.

namespace bulkhead::vtpm {

// The descriptors that the process inherits. Those of the state are there in pairs, or not at all.
inline constexpr int kSocketFd = 3;
inline constexpr int kKeyFd = 4;      // a pipe that holds the 32 bytes of the state's key
inline constexpr int kStateFd = 5;    // the sealed state, a regular file
inline constexpr int kCounterFd = 6;  // its counter, a regular file
// A socket to ask for a counter in the host's TPM (counter_protocol.h). Not there: none is to be.
inline constexpr int kHostCounterFd = 7;

enum class MessageType : std::uint32_t {
  kInit = 1,         // payload: nothing, or volatile state to go on with
  kCommand = 2,      // value: locality; payload: the command. Answer: the response
  kGetVolatile = 3,  // answer: the volatile state
  kShutdown = 4,     // the process ends after its answer
  kCancel = 5,       // value: the sequence number of the command to cancel. No answer
};

enum class Status : std::uint32_t {
  kOk = 0,
  kRefused = 1,       // the request makes no sense now
  kTpmFailed = 2,     // libtpms refused, or could not go on
  kStateDamaged = 3,  // the state at rest was changed
  kStateOlder = 4,    // the state at rest is not the newest
  kStateKey = 5,      // sealed with another key
  kStateIo = 6,       // cannot be read or written
  kStateFull = 7,     // no space for it
  kNotCounted = 8,    // the host's TPM counts the state, and cannot be asked
};
inline constexpr std::uint32_t kLastStatus = 8;

struct Message {
  MessageType type = MessageType::kInit;
  std::uint32_t sequence = 0;  // of the request; its answer repeats it
  std::uint32_t value = 0;     // of an answer: its Status
  std::span<const std::byte> payload = {};
};

inline constexpr std::size_t kHeaderBytes = 16;
inline constexpr std::size_t kMaxPayloadBytes = 64 * 1024;
using DatagramBuffer = std::array<std::byte, kHeaderBytes + kMaxPayloadBytes>;

// The message in a datagram; its payload stays there.
Result<Message> parse_message(std::span<const std::byte> datagram);

// The Error that a status other than kOk stands for.
Error to_error(Status status);

// kClosed when the other side has gone. receive_message() waits; send_message() does not: whoever
// lets a few requests lie unread does not work.
Result<void> send_message(int socket, const Message& message);
Result<Message> receive_message(int socket, DatagramBuffer& buffer);

}  // namespace bulkhead::vtpm
