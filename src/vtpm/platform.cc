// SPDX-License-Identifier: Apache-2.0
#include "vtpm/platform.h"

#include <algorithm>
#include <array>
#include <memory>

#include "vtpm/response.h"

namespace bulkhead::vtpm {
namespace {

// TPM 2.0 Part 2: TPM_ST, TPM_CC, TPM_RH, TPM_CAP.
constexpr std::uint16_t kNoSessions = 0x8001;
constexpr std::uint16_t kSessions = 0x8002;
constexpr std::uint32_t kHierarchyControl = 0x00000121;
constexpr std::uint32_t kNvUndefineSpace = 0x00000122;
constexpr std::uint32_t kNvDefineSpace = 0x0000012a;
constexpr std::uint32_t kPcrAllocate = 0x0000012b;
constexpr std::uint32_t kCreatePrimary = 0x00000131;
constexpr std::uint32_t kNvWrite = 0x00000137;
constexpr std::uint32_t kStartup = 0x00000144;
constexpr std::uint32_t kFlushContext = 0x00000165;
constexpr std::uint32_t kGetCapability = 0x0000017a;
constexpr std::uint32_t kPcrExtend = 0x00000182;
constexpr std::uint32_t kPasswordSession = 0x40000009;
constexpr std::uint32_t kEndorsementHandle = 0x4000000b;
constexpr std::uint32_t kPlatformHandle = 0x4000000c;
constexpr std::uint32_t kCapHandles = 1;
constexpr std::uint32_t kCapPcrs = 5;
constexpr std::uint16_t kClear = 0;

// TPMA_NV: PPWRITE, PPREAD, OWNERREAD, AUTHREAD, NO_DA, PLATFORMCREATE.
constexpr std::uint32_t kReadByAll = 1U << 0 | 1U << 16 | 1U << 17 | 1U << 18 | 1U << 25 | 1U << 30;
constexpr std::size_t kNvStep = 512;
constexpr std::size_t kMaxPublicArea = 1024;

constexpr std::size_t kHeaderBytes = 10;
constexpr std::uint32_t kAllPcrs = (1U << kPcrCount) - 1;
// All that libtpms implements: what a TPM2_PCR_Allocate does not name stays as it is.
constexpr TpmAlg kKnownBanks[] = {TpmAlg::kSha1, TpmAlg::kSha256, TpmAlg::kSha384, TpmAlg::kSha512};

// TPMS_AUTH_COMMAND of an empty password, behind its size.
Bytes empty_password() {
  TpmWriter session;
  session.u32(kPasswordSession).sized({}).u8(0).sized({});
  const Bytes bytes = session.take();
  return TpmWriter().u32(static_cast<std::uint32_t>(bytes.size())).raw(bytes).take();
}

}  // namespace

// What follows the response's header.
Result<Bytes> Platform::execute(std::uint16_t tag, std::uint32_t code,
                                std::span<const std::byte> rest) {
  const auto size = static_cast<std::uint32_t>(kHeaderBytes + rest.size());
  const Bytes command = TpmWriter().u16(tag).u32(size).u32(code).raw(rest).take();
  const auto response = std::make_unique<std::array<std::byte, kTpmBufferBytes>>();
  const std::size_t length = TRY(tpm_.execute(TpmLocality::k0, command, *response));
  const auto got = std::span<const std::byte>(*response).first(length);
  if (!is_response(got) || response_code(got) != 0) {
    return Error{Errc::kIo, 0, "the TPM refuses a command of the monitor's"};
  }
  return copy_of(got.subspan(kHeaderBytes));
}

Result<Bytes> Platform::run(std::uint32_t code, std::span<const std::byte> parameters) {
  return execute(kNoSessions, code, parameters);
}

Result<Bytes> Platform::run_authorized(std::uint32_t code,
                                       std::initializer_list<std::uint32_t> handles,
                                       std::span<const std::byte> parameters) {
  TpmWriter rest;
  for (const std::uint32_t handle : handles) rest.u32(handle);
  return execute(kSessions, code, rest.raw(empty_password()).raw(parameters).take());
}

Result<void> Platform::startup() {
  TRY(run(kStartup, TpmWriter().u16(kClear).take()));
  return {};
}

Result<PcrSelections> Platform::banks() {
  const Bytes answer = TRY(run(kGetCapability, TpmWriter().u32(kCapPcrs).u32(0).u32(1).take()));
  ByteReader reader(answer);
  const auto more = TRY(reader.read_be<std::uint8_t>());
  const auto capability = TRY(reader.read_be<std::uint32_t>());
  if (more != 0 || capability != kCapPcrs) {
    return Error{Errc::kMalformed, 0, "the TPM answers what was not asked"};
  }
  PcrSelections selections = TRY(read_pcr_selections(reader));
  TRY(expect_end(reader));
  std::erase_if(selections, [](const PcrSelection& selection) { return selection.pcrs == 0; });
  return selections;
}

Result<void> Platform::choose_banks(std::span<const HashAlgorithm> banks) {
  PcrSelections selections;
  for (const TpmAlg bank : kKnownBanks) selections.push_back({bank, 0});
  for (const HashAlgorithm bank : banks) {
    for (PcrSelection& selection : selections) {
      if (selection.bank == to_tpm(bank)) selection.pcrs = kAllPcrs;
    }
  }
  TpmWriter writer;
  write_pcr_selections(writer, selections);
  const Bytes answer = TRY(run_authorized(kPcrAllocate, {kPlatformHandle}, writer.take()));
  ByteReader reader(answer);
  TRY(reader.skip(sizeof(std::uint32_t)));  // parameterSize
  if (TRY(reader.read_be<std::uint8_t>()) != 1) {
    return Error{Errc::kIo, 0, "the TPM does not have the PCR banks that are measured into"};
  }
  return {};
}

Result<void> Platform::extend(Pcr pcr, const DigestSet& digests) {
  TpmWriter values;
  values.u32(static_cast<std::uint32_t>(digests.size()));
  for (const Digest& digest : digests) {
    values.algorithm(to_tpm(digest.algorithm())).raw(digest.bytes());
  }
  TRY(run_authorized(kPcrExtend, {index_of(pcr)}, values.take()));
  return {};
}

Result<Bytes> Platform::show_primary(std::span<const std::byte> form) {
  const Bytes no_secret = TpmWriter().u16(0).u16(0).take();
  TpmWriter parameters;
  parameters.sized(no_secret).sized(form).u16(0).u32(0);
  const Bytes answer = TRY(run_authorized(kCreatePrimary, {kEndorsementHandle}, parameters.take()));
  ByteReader reader(answer);
  const auto handle = TRY(reader.read_be<std::uint32_t>());
  TRY(run(kFlushContext, TpmWriter().u32(handle).take()));
  TRY(reader.skip(sizeof(std::uint32_t)));  // parameterSize
  return copy_of(TRY(read_2b(reader, kMaxPublicArea)));
}

Result<bool> Platform::has_handle(std::uint32_t handle) {
  const Bytes answer =
      TRY(run(kGetCapability, TpmWriter().u32(kCapHandles).u32(handle).u32(1).take()));
  ByteReader reader(answer);
  TRY(reader.skip(sizeof(std::uint8_t) + sizeof(std::uint32_t)));  // moreData, capability
  if (TRY(reader.read_be<std::uint32_t>()) == 0) return false;
  return TRY(reader.read_be<std::uint32_t>()) == handle;
}

Result<void> Platform::remove_index(std::uint32_t index) {
  if (!TRY(has_handle(index))) return {};
  TRY(run_authorized(kNvUndefineSpace, {kPlatformHandle, index}, {}));
  return {};
}

Result<void> Platform::write_index(std::uint32_t index, std::span<const std::byte> bytes) {
  CHECK(bytes.size() <= kMaxIndexBytes);
  TRY(remove_index(index));
  const Bytes area = TpmWriter()
                         .u32(index)
                         .algorithm(TpmAlg::kSha256)
                         .u32(kReadByAll)
                         .u16(0)
                         .u16(static_cast<std::uint16_t>(bytes.size()))
                         .take();
  TRY(run_authorized(kNvDefineSpace, {kPlatformHandle}, TpmWriter().u16(0).sized(area).take()));
  for (std::size_t at = 0; at < bytes.size(); at += kNvStep) {
    const auto piece = bytes.subspan(at, std::min(kNvStep, bytes.size() - at));
    TRY(run_authorized(kNvWrite, {kPlatformHandle, index},
                       TpmWriter().sized(piece).u16(static_cast<std::uint16_t>(at)).take()));
  }
  return {};
}

Result<void> Platform::give_up_authority() {
  TpmWriter off;
  off.u32(kPlatformHandle).u8(0);
  TRY(run_authorized(kHierarchyControl, {kPlatformHandle}, off.take()));
  return {};
}

}  // namespace bulkhead::vtpm
