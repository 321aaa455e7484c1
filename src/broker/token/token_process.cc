// SPDX-License-Identifier: Apache-2.0
#include "broker/token/token_process.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "broker/token/token_messages.h"

namespace bulkhead::broker {
namespace {

// The PIN, and keys on their way, are nobody else's: no core file, no ptrace, no life of its own.
void harden() {
  const rlimit none{0, 0};
  ::prctl(PR_SET_DUMPABLE, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::setrlimit(RLIMIT_CORE, &none);
  // A terminal's Ctrl-C is the broker's business.
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGTERM, SIG_IGN);
}

bool send_answer(const Result<SecretBytes>& payload) {
  const Result<SecretBytes> message = encode_answer(payload);
  if (!message) return false;
  const auto bytes = message->bytes();
  return ::send(kTokenSocket, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(bytes.size());
}

}  // namespace

int run_token_process(const TokenConfig& config) {
  harden();
  const Result<std::unique_ptr<Pkcs11Token>> token = Pkcs11Token::open(config);
  if (!token) {
    log_failure("token-not-open", token.error());
    static_cast<void>(send_answer(token.error()));
    return 1;
  }
  Result<SecretBytes> buffer = SecretBytes::create(kMaxTokenMessage);
  if (!buffer || !send_answer(nothing())) return 1;
  while (true) {
    const ssize_t got = ::recv(kTokenSocket, buffer->bytes().data(), buffer->size(), 0);
    if (got <= 0) return 0;  // the broker has gone
    const std::span<std::byte> message = buffer->bytes().first(static_cast<std::size_t>(got));
    if (!send_answer(serve_token_request(**token, message))) return 1;
    wipe(message);
  }
}

}  // namespace bulkhead::broker
