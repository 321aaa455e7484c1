// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <memory>
#include <optional>
#include <vector>

#include "base/thread.h"
#include "base/thread_annotations.h"
#include "vtpm/process/tpm_engine.h"
#include "vtpm/protocol.h"

namespace bulkhead::vtpm {

// Serves one monitor. Requests run one at a time on the caller's thread, whose stack libtpms wants;
// a thread that only receives sees a cancellation, or the monitor's end, while one runs.
class Server {
 public:
  // The socket stays the caller's.
  static Result<std::unique_ptr<Server>> create(int socket);
  // The receiving thread ends with the socket.
  ~Server();

  // Until the monitor asks to end, or has gone: no error. Else what it did wrong.
  Result<void> run(TpmEngine& engine);
  // The same without a TPM: answers every request with why there is none.
  Result<void> refuse(const Error& why);

 private:
  // A request, copied from the datagram that it came in.
  struct Request {
    MessageType type;
    std::uint32_t sequence;
    std::uint32_t value;
    std::vector<std::byte> payload;
  };
  struct Answer {
    Status status = Status::kOk;
    std::span<const std::byte> payload = {};
  };

  explicit Server(int socket) : socket_(socket) {}
  static void receive_all(void* server);
  Result<void> receive_one(DatagramBuffer& buffer);
  void end(const Error& why);
  Result<Request> next() EXCLUDES(mutex_);
  Result<void> answer(const Request& request, const Answer& answer) EXCLUDES(mutex_);
  Answer handle(TpmEngine& engine, const Request& request);
  Answer give_volatile_state(TpmEngine& engine);

  const int socket_;
  std::vector<std::byte> volatile_;  // what the last answer has of it
  Mutex mutex_;
  std::condition_variable_any changed_;
  std::optional<Request> waiting_ GUARDED_BY(mutex_);
  std::uint32_t running_ GUARDED_BY(mutex_) = 0;  // the command under way
  bool busy_ GUARDED_BY(mutex_) = false;          // a request has not been answered
  std::optional<Error> ended_ GUARDED_BY(mutex_);
  Thread receiver_;
};

}  // namespace bulkhead::vtpm
