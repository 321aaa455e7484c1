// SPDX-License-Identifier: Apache-2.0
#include "vtpm/process/tpm_engine.h"

#include <libtpms/tpm_error.h>
#include <libtpms/tpm_library.h>
#include <libtpms/tpm_memory.h>
#include <libtpms/tpm_nvfilename.h>
#include <libtpms/tpm_tis.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "crypto/secret_bytes.h"
#include "devices/tpm.h"

namespace bulkhead::vtpm {
namespace {

// libtpms's callbacks have no argument of ours, so the one engine has to be known by name.
TpmEngine* the_engine = nullptr;

Error failed(const char* what) {
  return Error{Errc::kIo, 0, what};
}

const unsigned char* as_tpm_bytes(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

std::span<const std::byte> as_our_bytes(const unsigned char* data, std::uint32_t length) {
  return std::as_bytes(std::span(data, length));
}

// Memory that libtpms allocated.
class TpmBuffer {
 public:
  TpmBuffer() = default;
  TpmBuffer(const TpmBuffer&) = delete;
  TpmBuffer& operator=(const TpmBuffer&) = delete;
  ~TpmBuffer() { TPM_Free(data); }

  unsigned char* data = nullptr;
  std::uint32_t length = 0;
};

}  // namespace

struct TpmEngine::Callbacks {
  static TPM_RESULT nothing() { return TPM_SUCCESS; }

  // TPM_RETRY: there is none.
  static TPM_RESULT load(unsigned char** data, std::uint32_t* length, std::uint32_t /*tpm*/,
                         const char* name) {
    const std::vector<std::byte>& state = the_engine->permanent_;
    if (std::string_view(name) != TPM_PERMANENT_ALL_NAME || state.empty()) return TPM_RETRY;
    const auto size = static_cast<std::uint32_t>(state.size());
    if (TPM_Malloc(data, size) != TPM_SUCCESS) return TPM_FAIL;
    std::memcpy(*data, state.data(), size);
    *length = size;
    return TPM_SUCCESS;
  }

  static TPM_RESULT store(const unsigned char* data, std::uint32_t length, std::uint32_t /*tpm*/,
                          const char* name) {
    if (std::string_view(name) != TPM_PERMANENT_ALL_NAME || length > kMaxStateBytes) {
      return TPM_FAIL;
    }
    const auto bytes = as_our_bytes(data, length);
    std::vector<std::byte> state(bytes.begin(), bytes.end());
    the_engine->permanent_.swap(state);
    wipe(state);
    the_engine->changed_ = true;
    return TPM_SUCCESS;
  }

  // Volatile state is not stored by libtpms: it has nothing else to delete.
  static TPM_RESULT remove(std::uint32_t /*tpm*/, const char* /*name*/, TPM_BOOL must_exist) {
    return must_exist != 0 ? TPM_FAIL : TPM_SUCCESS;
  }

  static TPM_RESULT locality(TPM_MODIFIER_INDICATOR* locality, std::uint32_t /*tpm*/) {
    *locality = the_engine->locality_;
    return TPM_SUCCESS;
  }

  static TPM_RESULT physical_presence(TPM_BOOL* present, std::uint32_t /*tpm*/) {
    *present = 0;
    return TPM_SUCCESS;
  }

  static bool install() {
    libtpms_callbacks callbacks{};
    callbacks.sizeOfStruct = sizeof callbacks;
    callbacks.tpm_nvram_init = nothing;
    callbacks.tpm_nvram_loaddata = load;
    callbacks.tpm_nvram_storedata = store;
    callbacks.tpm_nvram_deletename = remove;
    callbacks.tpm_io_init = nothing;
    callbacks.tpm_io_getlocality = locality;
    callbacks.tpm_io_getphysicalpresence = physical_presence;
    return TPMLIB_RegisterCallbacks(&callbacks) == TPM_SUCCESS;
  }
};

Result<std::unique_ptr<TpmEngine>> TpmEngine::create(StateKeeper& keeper) {
  if (the_engine != nullptr) return Error{Errc::kBusy, 0, "there is one TPM in a process"};
  std::unique_ptr<TpmEngine> engine(new TpmEngine(keeper));
  engine->permanent_ = TRY(keeper.load());
  if (TPMLIB_ChooseTPMVersion(TPMLIB_TPM_VERSION_2) != TPM_SUCCESS || !Callbacks::install()) {
    return failed("libtpms cannot be set up");
  }
  if (TPMLIB_SetBufferSize(kTpmBufferBytes, nullptr, nullptr) != kTpmBufferBytes) {
    return failed("libtpms does not take the interface's buffer size");
  }
  the_engine = engine.get();
  return engine;
}

TpmEngine::~TpmEngine() {
  if (the_engine == this) {
    stop();
    the_engine = nullptr;
  }
  TPM_Free(response_);
  wipe(permanent_);
}

void TpmEngine::stop() {
  if (running_) TPMLIB_Terminate();
  running_ = false;
}

Result<void> TpmEngine::init(std::span<const std::byte> volatile_state) {
  stop();
  const bool resumed = !volatile_state.empty();
  if (resumed &&
      TPMLIB_SetState(TPMLIB_STATE_VOLATILE, as_tpm_bytes(volatile_state),
                      static_cast<std::uint32_t>(volatile_state.size())) != TPM_SUCCESS) {
    return failed("the TPM's volatile state is damaged");
  }
  if (TPMLIB_MainInit() != TPM_SUCCESS) return failed("the TPM does not start");
  running_ = true;
  return save();
}

// A TPM that had its state changed may not answer before the change is lasting.
Result<void> TpmEngine::save() {
  if (!changed_) return {};
  TRY(keeper_.save(permanent_));
  changed_ = false;
  return {};
}

Result<std::span<const std::byte>> TpmEngine::execute(std::uint32_t locality,
                                                      std::span<const std::byte> command) {
  if (!running_ || locality >= kTpmLocalities || command.size() > kTpmBufferBytes) {
    return Error{Errc::kInvalidArgument, 0, "the TPM is off, or this is no command"};
  }
  locality_ = static_cast<std::uint8_t>(locality);
  // libtpms takes the command as writable, and the copy keeps ours as it is.
  std::vector<std::byte> copy(command.begin(), command.end());
  std::uint32_t length = 0;
  const TPM_RESULT result = TPMLIB_Process(&response_, &length, &response_capacity_,
                                           reinterpret_cast<unsigned char*>(copy.data()),
                                           static_cast<std::uint32_t>(copy.size()));
  wipe(copy);
  if (result != TPM_SUCCESS || response_ == nullptr) return failed("the TPM failed");
  TRY(save());
  return as_our_bytes(response_, length);
}

Result<std::vector<std::byte>> TpmEngine::volatile_state() {
  TpmBuffer state;
  if (!running_ ||
      TPMLIB_GetState(TPMLIB_STATE_VOLATILE, &state.data, &state.length) != TPM_SUCCESS) {
    return failed("the TPM does not give its volatile state");
  }
  const auto bytes = as_our_bytes(state.data, state.length);
  return std::vector<std::byte>(bytes.begin(), bytes.end());
}

// It only sets a flag, which each command clears when it begins.
void TpmEngine::cancel() {
  TPMLIB_CancelCommand();
}

}  // namespace bulkhead::vtpm
