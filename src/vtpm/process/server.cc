// SPDX-License-Identifier: Apache-2.0
#include "vtpm/process/server.h"

#include <sys/socket.h>

#include <cerrno>

#include "crypto/secret_bytes.h"

namespace bulkhead::vtpm {
namespace {

Status to_status(const Error& error) {
  if (error.os_errno != 0) return error.os_errno == ENOSPC ? Status::kStateFull : Status::kStateIo;
  switch (error.code) {
    case Errc::kExhausted:
      return Status::kStateFull;
    case Errc::kInvalidArgument:
      return Status::kRefused;
    case Errc::kRolledBack:
    case Errc::kNotFound:  // its counter
      return Status::kStateOlder;
    case Errc::kMalformed:
    case Errc::kTruncated:
    case Errc::kUnsupported:
      return Status::kStateDamaged;
    case Errc::kPermission:
      return Status::kStateKey;
    case Errc::kClosed:
      return Status::kNotCounted;
    default:
      return Status::kTpmFailed;
  }
}

Status to_status(const Result<void>& result) {
  return result ? Status::kOk : to_status(result.error());
}

}  // namespace

Result<std::unique_ptr<Server>> Server::create(int socket) {
  std::unique_ptr<Server> server(new Server(socket));
  server->receiver_ = TRY(Thread::start("vtpm-receive", receive_all, server.get()));
  return server;
}

Server::~Server() {
  ::shutdown(socket_, SHUT_RDWR);
  receiver_.join();
}

void Server::receive_all(void* opaque) {
  auto& server = *static_cast<Server*>(opaque);
  const auto buffer = std::make_unique<DatagramBuffer>();
  while (true) {
    const Result<void> received = server.receive_one(*buffer);
    if (!received) return server.end(received.error());
  }
}

Result<void> Server::receive_one(DatagramBuffer& buffer) {
  const Message message = TRY(receive_message(socket_, buffer));
  const MutexLock lock(mutex_);
  if (message.type == MessageType::kCancel) {
    // One that comes too late is no fault: the answer was under way.
    if (running_ != 0 && running_ == message.value) TpmEngine::cancel();
    return {};
  }
  if (busy_) return Error{Errc::kMalformed, 0, "a second request before the answer to the first"};
  busy_ = true;
  waiting_ = Request{message.type,
                     message.sequence,
                     message.value,
                     {message.payload.begin(), message.payload.end()}};
  wipe(buffer);
  changed_.notify_all();
  return {};
}

// Whoever asked for what runs now has gone: nobody would see its end.
void Server::end(const Error& why) {
  const MutexLock lock(mutex_);
  ended_ = why;
  if (running_ != 0) TpmEngine::cancel();
  changed_.notify_all();
}

Result<Server::Request> Server::next() {
  const MutexLock lock(mutex_);
  while (!waiting_ && !ended_) changed_.wait(mutex_);
  if (!waiting_) return *ended_;
  Request request = std::move(*waiting_);
  waiting_.reset();
  if (request.type == MessageType::kCommand) running_ = request.sequence;
  return request;
}

Result<void> Server::run(TpmEngine& engine) {
  while (true) {
    Result<Request> request = next();
    if (!request) {
      return request.error().code == Errc::kClosed ? Result<void>() : request.error();
    }
    const Answer given = handle(engine, *request);
    wipe(request->payload);
    TRY(answer(*request, given));
    if (request->type == MessageType::kShutdown) return {};
  }
}

Result<void> Server::refuse(const Error& why) {
  while (true) {
    const Result<Request> request = next();
    if (!request) return why;
    const bool end = request->type == MessageType::kShutdown;
    TRY(answer(*request, {end ? Status::kOk : to_status(why)}));
    if (end) return why;
  }
}

Result<void> Server::answer(const Request& request, const Answer& answer) {
  {
    const MutexLock lock(mutex_);
    running_ = 0;
    busy_ = false;
  }
  return send_message(socket_, {.type = request.type,
                                .sequence = request.sequence,
                                .value = static_cast<std::uint32_t>(answer.status),
                                .payload = answer.payload});
}

Server::Answer Server::handle(TpmEngine& engine, const Request& request) {
  switch (request.type) {
    case MessageType::kInit:
      return {to_status(engine.init(request.payload))};
    case MessageType::kCommand: {
      const auto response = engine.execute(request.value, request.payload);
      if (!response) return {to_status(response.error())};
      return {Status::kOk, *response};
    }
    case MessageType::kGetVolatile:
      return give_volatile_state(engine);
    case MessageType::kShutdown:
      return {};
    case MessageType::kCancel:  // never gets here
      break;
  }
  return {Status::kRefused};
}

Server::Answer Server::give_volatile_state(TpmEngine& engine) {
  Result<std::vector<std::byte>> state = engine.volatile_state();
  if (!state) return {to_status(state.error())};
  if (state->size() > kMaxPayloadBytes) return {Status::kTpmFailed};
  wipe(volatile_);
  volatile_ = std::move(*state);
  return {Status::kOk, volatile_};
}

}  // namespace bulkhead::vtpm
