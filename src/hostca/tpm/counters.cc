// SPDX-License-Identifier: Apache-2.0
// Counters in the TPM's NV memory: TPM 2.0 Part 3, 31 (NV_DefineSpace, _Increment, _Read).
#include <tss2/tss2_esys.h>

#include <algorithm>

#include "base/byte_reader.h"
#include "hostca/tpm/host_tpm.h"
#include "hostca/tpm/tpm_objects.h"

namespace bulkhead::hostca {
namespace {

// In the range that is the owner's to assign (TCG registry of reserved TPM handles).
constexpr std::uint32_t kFirstCounter = 0x01810000;
constexpr std::uint32_t kMaxCounters = 128;
constexpr std::uint16_t kValueBytes = 8;
constexpr TPMA_NV kType = TPM2_NT_COUNTER << TPMA_NV_TPM2_NT_SHIFT;

bool is_ours(std::uint32_t index) {
  return index >= kFirstCounter && index < kFirstCounter + kMaxCounters;
}

}  // namespace

// An index that is there, with its password, for as long as this object lives.
class HostTpm::Counter {
 public:
  Counter(ESYS_CONTEXT* esys, ESYS_TR handle) : esys_(esys), handle_(handle) {}
  ~Counter() { Esys_TR_Close(esys_, &handle_); }
  Counter(const Counter&) = delete;
  Counter& operator=(const Counter&) = delete;

  Result<void> increment() {
    const TSS2_RC code =
        Esys_NV_Increment(esys_, handle_, handle_, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE);
    if (code == TSS2_RC_SUCCESS) return {};
    return tpm_error(code, "the host's TPM does not count: another password, or too often");
  }
  Result<std::uint64_t> value() {
    TPM2B_MAX_NV_BUFFER* content = nullptr;
    const TSS2_RC code = Esys_NV_Read(esys_, handle_, handle_, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                      ESYS_TR_NONE, kValueBytes, 0, &content);
    if (code != TSS2_RC_SUCCESS) return tpm_error(code, "the host's TPM does not tell a counter");
    const Owned<TPM2B_MAX_NV_BUFFER> owned(content);
    if (content->size != kValueBytes) {
      return Error{Errc::kMalformed, 0, "a counter of the host's TPM has an unusual size"};
    }
    std::uint64_t value = 0;
    for (const BYTE byte : std::span(content->buffer).first(kValueBytes)) value = value << 8 | byte;
    return value;
  }

 private:
  ESYS_CONTEXT* esys_;
  ESYS_TR handle_;
};

Result<std::vector<std::uint32_t>> HostTpm::counters() {
  TPMS_CAPABILITY_DATA* handles = nullptr;
  const TSS2_RC code =
      Esys_GetCapability(esys_, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_HANDLES,
                         kFirstCounter, kMaxCounters, nullptr, &handles);
  if (code != TSS2_RC_SUCCESS) return tpm_error(code, "the host's TPM does not list its counters");
  const Owned<TPMS_CAPABILITY_DATA> owned(handles);
  std::vector<std::uint32_t> found;
  for (const TPM2_HANDLE handle :
       std::span(handles->data.handles.handle).first(handles->data.handles.count)) {
    if (is_ours(handle)) found.push_back(handle);
  }
  return found;
}

Result<std::unique_ptr<HostTpm::Counter>> HostTpm::open_counter(std::uint32_t index,
                                                                std::span<const std::byte> secret) {
  const Error absent{Errc::kNotFound, 0, "the host's TPM has no such counter"};
  TPM2B_AUTH password{};
  TRY(fill(password.size, password.buffer, secret));
  if (!is_ours(index) || !has_nv(index)) return absent;
  ESYS_TR handle = ESYS_TR_NONE;
  TPM2B_NV_PUBLIC* area = nullptr;
  if (Esys_TR_FromTPMPublic(esys_, index, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &handle) !=
      TSS2_RC_SUCCESS) {
    return absent;
  }
  auto counter = std::make_unique<Counter>(esys_, handle);
  if (Esys_TR_SetAuth(esys_, handle, &password) != TSS2_RC_SUCCESS ||
      Esys_NV_ReadPublic(esys_, handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &area, nullptr) !=
          TSS2_RC_SUCCESS) {
    return absent;
  }
  const Owned<TPM2B_NV_PUBLIC> owned(area);
  if ((area->nvPublic.attributes & TPMA_NV_TPM2_NT_MASK) != kType) return absent;
  return counter;
}

Result<CounterValue> HostTpm::make_counter(std::span<const std::byte> secret) {
  const std::vector<std::uint32_t> taken = TRY(counters());
  std::uint32_t index = kFirstCounter;
  while (std::ranges::find(taken, index) != taken.end()) ++index;
  constexpr const char* kNoRoom =
      "the host's TPM has no room for another counter: see 'bulkhead host counters'";
  if (!is_ours(index)) return Error{Errc::kExhausted, 0, kNoRoom};
  TPM2B_AUTH password{};
  TRY(fill(password.size, password.buffer, secret));
  const TPM2B_NV_PUBLIC area{
      .size = 0,
      .nvPublic = {.nvIndex = index,
                   .nameAlg = TPM2_ALG_SHA256,
                   .attributes = TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE | TPMA_NV_NO_DA | kType,
                   .authPolicy = {},
                   .dataSize = kValueBytes}};
  ESYS_TR handle = ESYS_TR_NONE;
  const TSS2_RC code = Esys_NV_DefineSpace(esys_, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                           ESYS_TR_NONE, &password, &area, &handle);
  if (code != TSS2_RC_SUCCESS) return tpm_error(code, kNoRoom);
  Counter counter(esys_, handle);
  TRY(counter.increment());  // before the first time it has no value
  return CounterValue{index, TRY(counter.value())};
}

Result<CounterValue> HostTpm::read_counter(std::uint32_t index, std::span<const std::byte> secret) {
  const auto counter = TRY(open_counter(index, secret));
  return CounterValue{index, TRY(counter->value())};
}

Result<CounterValue> HostTpm::step_counter(std::uint32_t index, std::span<const std::byte> secret) {
  const auto counter = TRY(open_counter(index, secret));
  TRY(counter->increment());
  return CounterValue{index, TRY(counter->value())};
}

Result<void> HostTpm::remove_counter(std::uint32_t index) {
  if (!is_ours(index) || !has_nv(index)) {
    return Error{Errc::kNotFound, 0, "the host's TPM has no such counter of ours"};
  }
  ESYS_TR handle = ESYS_TR_NONE;
  TSS2_RC code =
      Esys_TR_FromTPMPublic(esys_, index, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &handle);
  if (code == TSS2_RC_SUCCESS) {
    code = Esys_NV_UndefineSpace(esys_, ESYS_TR_RH_OWNER, handle, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                 ESYS_TR_NONE);
  }
  if (code == TSS2_RC_SUCCESS) return {};
  return tpm_error(code, "the host's TPM does not remove the counter");
}

}  // namespace bulkhead::hostca
