// SPDX-License-Identifier: Apache-2.0
#include "agent/protocol/obtain.h"

#include <cstring>
#include <exception>
#include <thread>

#include "agent/backoff.h"
#include "agent/http.h"
#include "agent/protocol/messages.h"

namespace bulkhead::agent {
namespace {

constexpr std::chrono::milliseconds kConnectPatience{10'000};
constexpr std::chrono::milliseconds kAnswerPatience{60'000};
constexpr unsigned kOk = 200;
constexpr unsigned kTooMany = 429;
constexpr unsigned kUnavailable = 503;

// Thrown within this file: an attempt ended without the secret.
struct Failure {
  Outcome::Kind kind = Outcome::Kind::kNotAsked;
  bool may_pass = false;
  std::string text;
  std::vector<std::string> reasons = {};
  std::optional<unsigned> retry_after_s = {};
};

std::string text_of(const Error& error) {
  std::string text = error.what;
  if (error.os_errno != 0) text.append(": ").append(::strerrordesc_np(error.os_errno));
  return text;
}

// What another attempt may find otherwise. Whatever the kernel says of a connection is such:
// networks come up late.
bool may_pass(const Error& error) {
  return error.code == Errc::kTimeout || error.code == Errc::kClosed || error.os_errno != 0;
}

template <class T>
T from_network(Result<T> result) {
  if (result) return std::move(result).value();
  throw Failure{.may_pass = may_pass(result.error()), .text = text_of(result.error())};
}
template <class T>
T or_give_up(Result<T> result) {
  if (result) return std::move(result).value();
  throw Failure{.text = text_of(result.error())};
}

// A session that ended, as a broker's process does now and then, is no judgement.
Failure failure_of(const HttpAnswer& answer) {
  Refusal refusal = parse_refusal(answer.body);
  const unsigned status = answer.head.status;
  const bool is_session = status == 401 && refusal.kind == "session";
  const bool passes = status == kTooMany || status == kUnavailable || is_session;
  std::string text = "the broker answers with status " + std::to_string(status);
  if (!refusal.kind.empty()) text += " (" + refusal.kind + ")";
  if (!refusal.detail.empty()) text += ": " + refusal.detail;
  return {.kind = passes ? Outcome::Kind::kNotAsked : Outcome::Kind::kRefused,
          .may_pass = passes,
          .text = std::move(text),
          .reasons = std::move(refusal.reasons),
          .retry_after_s = answer.head.retry_after_s};
}

// One connection, and one session on it.
class Conversation {
 public:
  Conversation(const Request& request, const Deadline& deadline)
      : deadline_(deadline),
        host_(request.server.name),
        prefix_(request.tenant.empty() ? "/kbs/v0/" : "/tenant/" + request.tenant + "/kbs/v0/"),
        tls_(from_network(connect(request, deadline))) {}

  std::string post(const std::string& what, const std::string& body) {
    return ask("POST " + prefix_ + what + " HTTP/1.1\r\n" + headers() +
               "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
               "\r\n\r\n" + body);
  }
  std::string get(const std::string& what) {
    return ask("GET " + prefix_ + what + " HTTP/1.1\r\n" + headers() + "\r\n");
  }

 private:
  static Result<TlsConnection> connect(const Request& request, const Deadline& deadline) {
    const Deadline soon = deadline.or_after(kConnectPatience);
    return TlsConnection::open(TRY(connect_to(request.address, soon)), request.server,
                               deadline.or_after(kAnswerPatience));
  }
  std::string headers() const {
    const bool is_v6 = host_.contains(':');
    std::string text = "Host: " + (is_v6 ? "[" + host_ + "]" : host_) + "\r\n";
    if (!session_.empty()) text += "Cookie: " + session_ + "\r\n";
    return text;
  }
  std::string ask(const std::string& text) {
    HttpAnswer answer = from_network(ask_http(tls_, text, deadline_.or_after(kAnswerPatience)));
    if (answer.head.status != kOk) throw failure_of(answer);
    if (!answer.head.session.empty()) session_ = answer.head.session;
    return std::move(answer.body);
  }

  const Deadline deadline_;
  const std::string host_;
  const std::string prefix_;
  TlsConnection tls_;
  std::string session_;
};

SecretBytes attempt(const Request& request, EvidenceSource& source, const Deadline& deadline) {
  const EphemeralKey key = or_give_up(EphemeralKey::generate());
  Conversation broker(request, deadline);
  const Challenge challenge{.nonce = or_give_up(parse_challenge(broker.post("auth", auth_body()))),
                            .requester_key = key.thumbprint()};
  broker.post("attest", attest_body(key, or_give_up(source.make(challenge))));
  return or_give_up(key.open(broker.get("resource/" + request.secret)));
}

// Waits before the next attempt; false if the time is up before.
bool wait(const Failure& failure, Backoff& backoff, const Deadline& deadline,
          const OnRetry& on_retry) {
  const auto pause = or_give_up(backoff.next(failure.retry_after_s));
  if (pause >= deadline.remaining()) return false;
  on_retry(failure.text, pause);
  std::this_thread::sleep_for(pause);
  return true;
}

Outcome attempt_until(const Request& request, EvidenceSource& source, const OnRetry& on_retry) {
  const Deadline deadline = Deadline::after(request.timeout);
  Backoff backoff;
  while (true) {
    try {
      return {.kind = Outcome::Kind::kReleased, .secret = attempt(request, source, deadline)};
    } catch (Failure& failure) {
      if (failure.may_pass && wait(failure, backoff, deadline, on_retry)) continue;
      if (failure.may_pass) {
        failure.text = "no secret within " + std::to_string(request.timeout.count() / 1000) +
                       " s; at last: " + failure.text;
      }
      return {.kind = failure.kind,
              .text = std::move(failure.text),
              .reasons = std::move(failure.reasons)};
    }
  }
}

}  // namespace

Outcome obtain(const Request& request, EvidenceSource& source, const OnRetry& on_retry) {
  try {
    return attempt_until(request, source, on_retry);
  } catch (const Failure& failure) {
    return {.text = failure.text};
  } catch (const std::exception&) {
    return {.text = "no memory left"};
  }
}

}  // namespace bulkhead::agent
