// SPDX-License-Identifier: Apache-2.0
#include "vtpm/platform.h"

#include <array>
#include <memory>

#include "vtpm/response.h"

namespace bulkhead::vtpm {
namespace {

// TPM 2.0 Part 2: TPM_ST, TPM_CC, TPM_RH, TPM_CAP.
constexpr std::uint16_t kNoSessions = 0x8001;
constexpr std::uint16_t kSessions = 0x8002;
constexpr std::uint32_t kHierarchyControl = 0x00000121;
constexpr std::uint32_t kPcrAllocate = 0x0000012b;
constexpr std::uint32_t kStartup = 0x00000144;
constexpr std::uint32_t kGetCapability = 0x0000017a;
constexpr std::uint32_t kPcrExtend = 0x00000182;
constexpr std::uint32_t kPasswordSession = 0x40000009;
constexpr std::uint32_t kPlatformHandle = 0x4000000c;
constexpr std::uint32_t kCapPcrs = 5;
constexpr std::uint16_t kClear = 0;

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

Result<Bytes> Platform::run_authorized(std::uint32_t code, std::uint32_t handle,
                                       std::span<const std::byte> parameters) {
  const Bytes rest = TpmWriter().u32(handle).raw(empty_password()).raw(parameters).take();
  return execute(kSessions, code, rest);
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
  const Bytes answer = TRY(run_authorized(kPcrAllocate, kPlatformHandle, writer.take()));
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
  TRY(run_authorized(kPcrExtend, index_of(pcr), values.take()));
  return {};
}

Result<void> Platform::give_up_authority() {
  TpmWriter off;
  off.u32(kPlatformHandle).u8(0);
  TRY(run_authorized(kHierarchyControl, kPlatformHandle, off.take()));
  return {};
}

}  // namespace bulkhead::vtpm
