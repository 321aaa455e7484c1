// SPDX-License-Identifier: Apache-2.0
#include "agent/guest_tpm.h"

#include <algorithm>
#include <array>
#include <memory>

#include "vtpm/response.h"

namespace bulkhead::agent {
namespace {

// TPM 2.0 Part 2: TPM_ST, TPM_CC, TPM_RH, TPM_RS.
constexpr std::uint16_t kNoSessions = 0x8001;
constexpr std::uint16_t kSessions = 0x8002;
constexpr std::uint32_t kCreatePrimary = 0x00000131;
constexpr std::uint32_t kNvRead = 0x0000014e;
constexpr std::uint32_t kQuote = 0x00000158;
constexpr std::uint32_t kFlushContext = 0x00000165;
constexpr std::uint32_t kNvReadPublic = 0x00000169;
constexpr std::uint32_t kPcrRead = 0x0000017e;
constexpr std::uint32_t kEndorsementHandle = 0x4000000b;
constexpr std::uint32_t kPasswordSession = 0x40000009;

constexpr std::size_t kHeaderBytes = 10;
constexpr std::size_t kMaxPublicBytes = 1024;
constexpr std::size_t kMaxAttestBytes = 4096;
constexpr std::size_t kMaxPublicIndexBytes = 256;
constexpr std::uint16_t kMaxIndexBytes = 8192;
constexpr std::uint16_t kNvStep = 512;  // every TPM reads so much at a time
constexpr int kMaxPcrReads = 16;        // a TPM tells eight values at a time

// TPM_RC of a format-one response (Part 2, 6.6.2), without the number of what it is about.
constexpr std::uint32_t kFormatOne = 0x080;
constexpr std::uint32_t kFormatOneMask = 0x0bf;
constexpr std::uint32_t kRcHandle = kFormatOne | 0x00b;
constexpr std::uint32_t kRcAuthFail = kFormatOne | 0x00e;
constexpr std::uint32_t kRcBadAuth = kFormatOne | 0x022;

Error refusal(std::uint32_t code) {
  switch (code & kFormatOneMask) {
    case kRcHandle:
      return Error{Errc::kNotFound, 0, "the TPM has no such object"};
    case kRcAuthFail:
    case kRcBadAuth:
      return Error{Errc::kPermission, 0,
                   "the TPM wants a password: the endorsement hierarchy must have none "
                   "(tpm2_changeauth -c endorsement -p PASSWORD)"};
    default:
      return Error{Errc::kIo, 0, "the TPM refuses a command"};
  }
}

Bytes number(std::uint32_t value) {
  return TpmWriter().u32(value).take();
}

void write_empty_password(TpmWriter& writer) {
  constexpr std::uint32_t kBytes = 9;
  writer.u32(kBytes).u32(kPasswordSession).sized({}).u8(0).sized({});
}

Bytes written(const PcrSelections& pcrs) {
  TpmWriter writer;
  write_pcr_selections(writer, pcrs);
  return writer.take();
}

// What is still to be read of the selection.
PcrSelections missing(const PcrSelections& wanted, const PcrValues& known) {
  PcrSelections rest;
  for (PcrSelection bank : wanted) {
    for (unsigned i = 0; i < kPcrCount; ++i) {
      if (bank.has(i) && known.find({bank.bank, i}) != nullptr) bank.pcrs &= ~(1U << i);
    }
    if (bank.pcrs != 0) rest.push_back(bank);
  }
  return rest;
}

// The response to TPM2_PCR_Read, added to the values.
Result<void> take_values(std::span<const std::byte> answer, PcrValues& values) {
  ByteReader reader(answer);
  TRY(reader.skip(sizeof(std::uint32_t)));  // pcrUpdateCounter
  const PcrSelections told = TRY(read_pcr_selections(reader));
  auto left = TRY(reader.read_be<std::uint32_t>());
  for (const PcrSelection& bank : told) {
    for (unsigned i = 0; i < kPcrCount; ++i) {
      if (!bank.has(i)) continue;
      if (left-- == 0) return Error{Errc::kMalformed, 0, "the TPM tells fewer PCRs than it says"};
      TRY(values.set({bank.bank, i}, TRY(read_2b(reader, kMaxDigestBytes))));
    }
  }
  return expect_end(reader);
}

}  // namespace

// What follows the response's header.
Result<Bytes> GuestTpm::execute(std::uint16_t tag, std::uint32_t code,
                                std::span<const std::byte> rest) {
  const auto size = static_cast<std::uint32_t>(kHeaderBytes + rest.size());
  const Bytes command = TpmWriter().u16(tag).u32(size).u32(code).raw(rest).take();
  const auto response = std::make_unique<std::array<std::byte, kTpmBufferBytes>>();
  const std::size_t length = TRY(tpm_.execute(TpmLocality::k0, command, *response));
  const auto got = std::span<const std::byte>(*response).first(std::min(length, response->size()));
  if (!vtpm::is_response(got)) return Error{Errc::kMalformed, 0, "the TPM's answer is none"};
  if (const std::uint32_t failed = vtpm::response_code(got); failed != 0) return refusal(failed);
  return copy_of(got.subspan(kHeaderBytes));
}

Result<Bytes> GuestTpm::run(std::uint32_t code, std::span<const std::byte> parameters) {
  return execute(kNoSessions, code, parameters);
}

Result<Bytes> GuestTpm::run_authorized(std::uint32_t code, std::span<const std::byte> handles,
                                       std::span<const std::byte> parameters) {
  TpmWriter rest;
  rest.raw(handles);
  write_empty_password(rest);
  return execute(kSessions, code, rest.raw(parameters).take());
}

Result<GuestTpm::Key> GuestTpm::create_primary(const TpmPublic& form) {
  const Bytes no_secret = TpmWriter().u16(0).u16(0).take();
  TpmWriter parameters;
  parameters.sized(no_secret).sized(serialize(form)).u16(0).u32(0);
  const Bytes answer =
      TRY(run_authorized(kCreatePrimary, number(kEndorsementHandle), parameters.take()));
  ByteReader reader(answer);
  Key key;
  key.handle = TRY(reader.read_be<std::uint32_t>());
  TRY(reader.skip(sizeof(std::uint32_t)));  // parameterSize
  key.object = TRY(parse_tpmt_public(TRY(read_2b(reader, kMaxPublicBytes))));
  return key;
}

void GuestTpm::flush(const Key& key) {
  static_cast<void>(run(kFlushContext, number(key.handle)));  // there is nothing to be done
}

Result<Quote> GuestTpm::quote(const Key& key, std::span<const std::byte> qualifying_data,
                              const PcrSelections& pcrs) {
  TpmWriter parameters;
  parameters.sized(qualifying_data).algorithm(TpmAlg::kNull).raw(written(pcrs));
  const Bytes answer = TRY(run_authorized(kQuote, number(key.handle), parameters.take()));
  ByteReader reader(answer);
  const auto size = TRY(reader.read_be<std::uint32_t>());  // without the sessions behind
  ByteReader inner(TRY(reader.take(size)));
  Quote quote;
  quote.attest = copy_of(TRY(read_2b(inner, kMaxAttestBytes)));
  quote.signature = copy_of(TRY(inner.take(inner.remaining())));
  return quote;
}

Result<PcrValues> GuestTpm::read_pcrs(const PcrSelections& pcrs) {
  PcrValues values;
  for (int i = 0; i < kMaxPcrReads; ++i) {
    const PcrSelections rest = missing(pcrs, values);
    if (rest.empty()) return values;
    TRY(take_values(TRY(run(kPcrRead, written(rest))), values));
  }
  return Error{Errc::kNotFound, 0, "the TPM does not have all PCRs that are to be quoted"};
}

Result<std::uint16_t> GuestTpm::size_of_index(std::uint32_t index) {
  const Bytes answer = TRY(run(kNvReadPublic, number(index)));
  ByteReader reader(answer);
  ByteReader area(TRY(read_2b(reader, kMaxPublicIndexBytes)));
  TRY(area.skip(sizeof(std::uint32_t) + sizeof(std::uint16_t) + sizeof(std::uint32_t)));
  TRY(read_2b(area, kMaxDigestBytes));  // authPolicy
  const auto size = TRY(area.read_be<std::uint16_t>());
  TRY(expect_end(area));
  if (size > kMaxIndexBytes) return Error{Errc::kExhausted, 0, "an NV index is too large"};
  return size;
}

Result<Bytes> GuestTpm::read_index(std::uint32_t index) {
  const std::uint16_t size = TRY(size_of_index(index));
  const Bytes handles = TpmWriter().u32(index).u32(index).take();
  Bytes content;
  while (content.size() < size) {
    const auto at = static_cast<std::uint16_t>(content.size());
    const std::uint16_t want = std::min<std::uint16_t>(kNvStep, size - at);
    const Bytes answer =
        TRY(run_authorized(kNvRead, handles, TpmWriter().u16(want).u16(at).take()));
    ByteReader reader(answer);
    TRY(reader.skip(sizeof(std::uint32_t)));  // parameterSize
    const auto piece = TRY(read_2b(reader, want));
    if (piece.size() != want) return Error{Errc::kMalformed, 0, "the TPM reads less than asked"};
    content.insert(content.end(), piece.begin(), piece.end());
  }
  return content;
}

}  // namespace bulkhead::agent
