// SPDX-License-Identifier: Apache-2.0
#include "devices/tpm_crb.h"

#include <algorithm>
#include <bit>

#include "base/byte_reader.h"
#include "base/log.h"

namespace bulkhead {
namespace {

constexpr std::uint32_t kStateVersion = 1;
constexpr std::uint64_t kHardwareLocality = 4;

// PTP 1.05, "CRB Register Space": offsets in a locality's page.
constexpr std::uint64_t kLocState = 0x00;
constexpr std::uint64_t kLocCtrl = 0x08;
constexpr std::uint64_t kLocSts = 0x0c;
constexpr std::uint64_t kIntfId = 0x30;
constexpr std::uint64_t kIntfIdHigh = 0x34;
constexpr std::uint64_t kCtrlReq = 0x40;
constexpr std::uint64_t kCtrlSts = 0x44;
constexpr std::uint64_t kCtrlCancel = 0x48;
constexpr std::uint64_t kCtrlStart = 0x4c;
constexpr std::uint64_t kCmdSize = 0x58;
constexpr std::uint64_t kCmdAddress = 0x5c;
constexpr std::uint64_t kRspSize = 0x64;
constexpr std::uint64_t kRspAddress = 0x68;
constexpr std::uint64_t kDataBuffer = 0x80;
static_assert(kDataBuffer + kTpmBufferBytes == tpm_crb::kLocalityBytes);

// TPM_LOC_STATE. The establishment bit is inverted: no dynamic launch has happened.
constexpr std::uint32_t kNotEstablished = 1U << 0;
constexpr std::uint32_t kLocAssigned = 1U << 1;
constexpr unsigned kActiveLocalityShift = 2;
constexpr std::uint32_t kRegValid = 1U << 7;
// TPM_LOC_CTRL
constexpr std::uint8_t kRequestAccess = 1U << 0;
constexpr std::uint8_t kRelinquish = 1U << 1;
constexpr std::uint8_t kSeize = 1U << 2;
// TPM_LOC_STS
constexpr std::uint32_t kGranted = 1U << 0;
constexpr std::uint32_t kBeenSeized = 1U << 1;
// TPM_CRB_CTRL_REQ
constexpr std::uint8_t kCmdReady = 1U << 0;
constexpr std::uint8_t kGoIdle = 1U << 1;
// TPM_CRB_CTRL_STS
constexpr std::uint32_t kTpmError = 1U << 0;
constexpr std::uint32_t kTpmIdle = 1U << 1;
// TPM_CRB_INTF_ID: a CRB and nothing else, version 1, five localities, no need to go idle between
// commands, 64 bytes at once.
constexpr std::uint32_t kInterface =
    1U << 0 | 1U << 4 | 1U << 8 | 1U << 9 | 3U << 11 | 1U << 14 | 1U << 17;
constexpr std::uint32_t kVendor = 0x1014;  // IBM, as libtpms says of itself

// TPM 2.0 Part 2, "TPM_RC".
constexpr std::uint32_t kRcFailure = 0x101;
constexpr std::uint32_t kRcCommandSize = 0x142;
constexpr std::uint32_t kRcCanceled = 0x909;
constexpr std::size_t kHeaderBytes = 10;  // of commands and responses: tag, size, code

std::uint32_t big_endian(std::span<const std::byte> bytes, std::size_t at) {
  return __builtin_bswap32(get_le<std::uint32_t>(bytes, at));
}

// A response that consists of a code.
std::size_t put_response(std::span<std::byte> buffer, std::uint32_t code) {
  put_le(buffer, 0, std::uint16_t{0x0180});  // TPM_ST_NO_SESSIONS, big-endian
  put_le(buffer, 2, __builtin_bswap32(kHeaderBytes));
  put_le(buffer, 6, __builtin_bswap32(code));
  return kHeaderBytes;
}

std::uint32_t locality_address(std::uint64_t locality) {
  return static_cast<std::uint32_t>(tpm_crb::kBase.value() + locality * tpm_crb::kLocalityBytes);
}

std::uint8_t bit(std::uint64_t locality) {
  return static_cast<std::uint8_t>(1U << locality);
}

}  // namespace

Result<std::unique_ptr<TpmCrb>> TpmCrb::create(Tpm& tpm) {
  std::unique_ptr<TpmCrb> device(new TpmCrb(tpm));
  device->worker_ = TRY(Thread::start("tpm", work, device.get()));
  return device;
}

TpmCrb::~TpmCrb() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  tpm_.cancel();
  worker_.join();
}

bool TpmCrb::is_active(std::uint64_t locality) const {
  return active_ && *active_ == locality && !leaving_;
}

// Byte by byte: an access may have any size up to 8, and lie across registers.
void TpmCrb::read(std::uint64_t offset, std::span<std::byte> bytes) {
  const MutexLock lock(mutex_);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::uint64_t at = offset + i;
    bytes[i] = static_cast<std::byte>(
        read_byte(at / tpm_crb::kLocalityBytes, at % tpm_crb::kLocalityBytes));
  }
}

// Between localities the buffer is not shared, and while a command runs it is the TPM's.
std::uint8_t TpmCrb::read_byte(std::uint64_t locality, std::uint64_t offset) const {
  if (locality >= kTpmLocalities) return 0xff;
  if (offset >= kDataBuffer) {
    if (!is_active(locality) || state_ == State::kExecution) return 0xff;
    return std::to_integer<std::uint8_t>(buffer_[offset - kDataBuffer]);
  }
  return static_cast<std::uint8_t>(read_register(locality, offset & ~3ULL) >> offset % 4 * 8);
}

std::uint32_t TpmCrb::read_register(std::uint64_t locality, std::uint64_t offset) const {
  switch (offset) {
    case kLocState: {
      const std::uint32_t state = kNotEstablished | kRegValid;
      return !active_ ? state
                      : state | kLocAssigned | std::uint32_t{*active_} << kActiveLocalityShift;
    }
    case kLocSts:
      return (is_active(locality) ? kGranted : 0) |
             ((seized_ & bit(locality)) != 0 ? kBeenSeized : 0);
    case kIntfId:
      return kInterface;
    case kIntfIdHigh:
      return kVendor;
    case kCtrlSts:
      return (fatal_ ? kTpmError : 0) | (state_ == State::kIdle ? kTpmIdle : 0);
    case kCtrlCancel:
      return cancel_ ? 1 : 0;
    case kCtrlStart:
      return state_ == State::kExecution ? 1 : 0;
    case kCmdSize:
    case kRspSize:
      return kTpmBufferBytes;
    case kCmdAddress:
    case kRspAddress:
      return locality_address(locality) + kDataBuffer;
    default:  // CTRL_REQ is done at once; there are no interrupts
      return 0;
  }
}

void TpmCrb::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  bool cancelled = false;
  {
    const MutexLock lock(mutex_);
    const bool before = cancel_ || leaving_;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const std::uint64_t at = offset + i;
      write_byte(at / tpm_crb::kLocalityBytes, at % tpm_crb::kLocalityBytes,
                 std::to_integer<std::uint8_t>(bytes[i]));
    }
    cancelled = !before && (cancel_ || leaving_) && state_ == State::kExecution;
  }
  if (cancelled) tpm_.cancel();
}

// Every bit that does something lies in the first byte of its register.
void TpmCrb::write_byte(std::uint64_t locality, std::uint64_t offset, std::uint8_t value) {
  if (locality >= kHardwareLocality) return;
  if (offset == kLocCtrl) return control_locality(locality, value);
  if (!is_active(locality)) return;
  if (offset >= kDataBuffer) {
    // Linux sends its first commands one after another, without a cmdReady between.
    if (state_ == State::kCompletion) make_ready();
    if (state_ == State::kReady) buffer_[offset - kDataBuffer] = static_cast<std::byte>(value);
    return;
  }
  switch (offset) {
    case kCtrlReq:
      return request_state(value);
    case kCtrlCancel:
      return cancel(value);
    case kCtrlStart:
      if ((value & 1) != 0) start();
      return;
    default:
      return;
  }
}

// PTP, "TPM_LOC_CTRL_x". Two bits at once make no sense; the lowest counts.
void TpmCrb::control_locality(std::uint64_t locality, std::uint8_t value) {
  if ((value & kRequestAccess) != 0) {
    if (!is_active(locality)) wanted_ |= bit(locality);
  } else if ((value & kRelinquish) != 0) {
    wanted_ &= static_cast<std::uint8_t>(~bit(locality));
    if (is_active(locality)) leave_locality();
  } else if ((value & kSeize) != 0 && (!active_ || *active_ < locality)) {
    wanted_ |= bit(locality);
    if (active_ && !leaving_) {
      seized_ |= bit(*active_);
      leave_locality();
    }
  }
  if (!active_) enter_next_locality();
}

// A command of whoever leaves is aborted, and its response nobody's.
void TpmCrb::leave_locality() {
  if (state_ == State::kExecution) {
    leaving_ = true;
    return;
  }
  leaving_ = false;
  active_.reset();
  state_ = State::kIdle;
  buffer_.fill(std::byte{0});
  enter_next_locality();
}

// The highest of those that wait.
void TpmCrb::enter_next_locality() {
  if (wanted_ == 0) return;
  const auto next = static_cast<std::uint8_t>(std::bit_width(wanted_) - 1);
  active_ = next;
  wanted_ &= static_cast<std::uint8_t>(~bit(next));
  seized_ &= static_cast<std::uint8_t>(~bit(next));
}

void TpmCrb::request_state(std::uint8_t value) {
  if (state_ == State::kExecution) return;
  if ((value & kCmdReady) != 0) {
    make_ready();
  } else if ((value & kGoIdle) != 0) {
    state_ = State::kIdle;
  }
}

void TpmCrb::make_ready() {
  state_ = State::kReady;
  buffer_.fill(std::byte{0});
}

void TpmCrb::cancel(std::uint8_t value) {
  cancel_ = (value & 1) != 0;
}

void TpmCrb::start() {
  if (state_ != State::kReady || fatal_) return;
  state_ = State::kExecution;
  begun_ = false;
  changed_.notify_all();
}

void TpmCrb::work(void* opaque) {
  auto& device = *static_cast<TpmCrb*>(opaque);
  while (const std::optional<Command> command = device.next_command()) {
    device.complete(device.execute(*command));
  }
}

// What the guest wrote is copied once; its own idea of the length is checked where it is used.
std::optional<TpmCrb::Command> TpmCrb::next_command() {
  const MutexLock lock(mutex_);
  while (!stopping_ && (state_ != State::kExecution || begun_)) changed_.wait(mutex_);
  if (stopping_) return std::nullopt;
  begun_ = true;
  command_ = buffer_;
  return Command{.locality = static_cast<TpmLocality>(*active_),
                 .length = big_endian(command_, 2),
                 .cancelled = cancel_ || leaving_};
}

Result<std::size_t> TpmCrb::execute(const Command& command) {
  if (command.length < kHeaderBytes || command.length > kTpmBufferBytes) {
    return put_response(response_, kRcCommandSize);
  }
  if (command.cancelled) return put_response(response_, kRcCanceled);
  return tpm_.execute(command.locality, std::span(command_).first(command.length), response_);
}

void TpmCrb::complete(const Result<std::size_t>& length) {
  const MutexLock lock(mutex_);
  if (!length && !fatal_) {
    log_failure("tpm_failed", length.error());
    fatal_ = true;
  }
  const std::size_t used =
      length ? std::min(*length, response_.size()) : put_response(response_, kRcFailure);
  buffer_.fill(std::byte{0});
  std::copy_n(response_.begin(), used, buffer_.begin());
  command_.fill(std::byte{0});
  response_.fill(std::byte{0});
  state_ = State::kCompletion;
  if (leaving_) leave_locality();
  changed_.notify_all();
}

void TpmCrb::quiesce() {
  const MutexLock lock(mutex_);
  while (state_ == State::kExecution) changed_.wait(mutex_);
}

void TpmCrb::save(StateWriter& writer) const {
  const MutexLock lock(mutex_);
  writer.put(kStateVersion);
  writer.put(static_cast<std::uint8_t>(state_));
  writer.put(active_.value_or(static_cast<std::uint8_t>(kTpmLocalities)));
  writer.put(wanted_);
  writer.put(seized_);
  writer.put(static_cast<std::uint8_t>(cancel_ ? 1 : 0));
  writer.put(static_cast<std::uint8_t>(fatal_ ? 1 : 0));
  writer.put_bytes(buffer_);
}

Result<TpmCrb::Saved> TpmCrb::read_saved(StateReader& reader) {
  Saved saved;
  saved.state = TRY(reader.get<std::uint8_t>());
  saved.active = TRY(reader.get<std::uint8_t>());
  saved.wanted = TRY(reader.get<std::uint8_t>());
  saved.seized = TRY(reader.get<std::uint8_t>());
  saved.cancel = TRY(reader.get<std::uint8_t>());
  saved.fatal = TRY(reader.get<std::uint8_t>());
  return saved;
}

bool TpmCrb::Saved::possible() const {
  const bool idle = state == static_cast<std::uint8_t>(State::kIdle);
  const bool quiet = idle || state == static_cast<std::uint8_t>(State::kReady) ||
                     state == static_cast<std::uint8_t>(State::kCompletion);
  const bool flags = cancel <= 1 && fatal <= 1;
  const bool software_only = (wanted | seized) >> kHardwareLocality == 0;
  // Whoever waits does so because another locality is active.
  const bool nobody = active == kTpmLocalities && wanted == 0 && idle;
  const bool somebody = active < kHardwareLocality && (wanted & bit(active)) == 0;
  return quiet && flags && software_only && (nobody || somebody);
}

Result<void> TpmCrb::restore(StateReader& reader) {
  if (TRY(reader.get<std::uint32_t>()) != kStateVersion) {
    return Error{Errc::kUnsupported, 0, "state of the TPM's interface: other version"};
  }
  const Saved saved = TRY(read_saved(reader));
  Buffer buffer{};
  TRY(reader.get_bytes(buffer));
  if (!saved.possible()) {
    return Error{Errc::kMalformed, 0, "state of the TPM's interface: impossible values"};
  }
  const MutexLock lock(mutex_);
  state_ = static_cast<State>(saved.state);
  active_ = saved.active < kHardwareLocality ? std::optional(saved.active) : std::nullopt;
  wanted_ = saved.wanted;
  seized_ = saved.seized;
  cancel_ = saved.cancel != 0;
  fatal_ = saved.fatal != 0;
  buffer_ = buffer;
  return {};
}

}  // namespace bulkhead
