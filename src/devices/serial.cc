// SPDX-License-Identifier: Apache-2.0
#include "devices/serial.h"

#include <algorithm>

namespace bulkhead {
namespace {

constexpr std::uint32_t kStateVersion = 1;
constexpr auto kPort = ConsoleBackend::Port::kSerial;

// Registers by offset (PC16550D, "Register Addresses"). 0 and 1 depend on the DLAB bit.
constexpr std::uint64_t kData = 0;
constexpr std::uint64_t kIer = 1;
constexpr std::uint64_t kIirFcr = 2;
constexpr std::uint64_t kLcr = 3;
constexpr std::uint64_t kMcr = 4;
constexpr std::uint64_t kLsr = 5;
constexpr std::uint64_t kMsr = 6;
constexpr std::uint64_t kScr = 7;

// IER; bits 4 to 7 read as 0, by which drivers tell this chip from others.
constexpr std::uint8_t kIerReceived = 1U << 0;
constexpr std::uint8_t kIerTransmitEmpty = 1U << 1;
constexpr std::uint8_t kIerLineStatus = 1U << 2;
constexpr std::uint8_t kIerModemStatus = 1U << 3;
constexpr std::uint8_t kIerAll = 0x0f;

// IIR, by priority ("Interrupt Control Functions").
constexpr std::uint8_t kIirLineStatus = 0x06;
constexpr std::uint8_t kIirReceived = 0x04;
constexpr std::uint8_t kIirTimeout = 0x0c;
constexpr std::uint8_t kIirTransmitEmpty = 0x02;
constexpr std::uint8_t kIirModemStatus = 0x00;
constexpr std::uint8_t kIirNone = 0x01;
constexpr std::uint8_t kIirFifos = 0xc0;

constexpr std::uint8_t kFcrEnable = 1U << 0;
constexpr std::uint8_t kFcrClearReceiver = 1U << 1;
constexpr std::uint8_t kFcrTrigger = 3U << 6;
constexpr std::array<std::uint8_t, 4> kTriggerLevels = {1, 4, 8, 14};

constexpr std::uint8_t kLcrDlab = 1U << 7;

constexpr std::uint8_t kMcrDtr = 1U << 0;
constexpr std::uint8_t kMcrRts = 1U << 1;
constexpr std::uint8_t kMcrOut1 = 1U << 2;
constexpr std::uint8_t kMcrOut2 = 1U << 3;
constexpr std::uint8_t kMcrLoop = 1U << 4;
constexpr std::uint8_t kMcrAll = 0x1f;

constexpr std::uint8_t kLsrDataReady = 1U << 0;
constexpr std::uint8_t kLsrOverrun = 1U << 1;
constexpr std::uint8_t kLsrTransmitterEmpty = 3U << 5;  // THRE and TEMT

constexpr std::uint8_t kMsrRingEnded = 1U << 2;
constexpr std::uint8_t kMsrCts = 1U << 4;
constexpr std::uint8_t kMsrDsr = 1U << 5;
constexpr std::uint8_t kMsrRi = 1U << 6;
constexpr std::uint8_t kMsrDcd = 1U << 7;
constexpr std::uint8_t kMsrDeltas = 0x0f;

}  // namespace

std::byte Serial::Receiver::pop() {
  if (count == 0) return std::byte{0};
  const std::byte first = bytes[0];
  std::copy(bytes.begin() + 1, bytes.begin() + count, bytes.begin());
  --count;
  return first;
}

Serial::Serial(InterruptLine& line, ConsoleBackend& console) : line_(line), console_(console) {
  console_.connect(kPort, this);
}

Serial::~Serial() {
  console_.connect(kPort, nullptr);
}

bool Serial::dlab() const {
  return (registers_.lcr & kLcrDlab) != 0;
}

bool Serial::fifo_enabled() const {
  return (registers_.fcr & kFcrEnable) != 0;
}

bool Serial::loopback() const {
  return (registers_.mcr & kMcrLoop) != 0;
}

// A modem that is always there; in loopback, the chip's own outputs (PC16550D, "MCR bit 4").
std::uint8_t Serial::modem_status() const {
  if (!loopback()) return kMsrCts | kMsrDsr | kMsrDcd;
  const std::uint8_t mcr = registers_.mcr;
  return static_cast<std::uint8_t>(
      ((mcr & kMcrRts) != 0 ? kMsrCts : 0) | ((mcr & kMcrDtr) != 0 ? kMsrDsr : 0) |
      ((mcr & kMcrOut1) != 0 ? kMsrRi : 0) | ((mcr & kMcrOut2) != 0 ? kMsrDcd : 0));
}

// Below the trigger level, received bytes count as timed out at once: no more are on their way
// until these are read.
std::uint8_t Serial::interrupt_id() const {
  const Registers& r = registers_;
  if ((r.ier & kIerLineStatus) != 0 && r.lsr_errors != 0) return kIirLineStatus;
  if ((r.ier & kIerReceived) != 0 && receiver_.count > 0) {
    const std::uint8_t trigger = kTriggerLevels[r.fcr >> 6U];
    return fifo_enabled() && receiver_.count < trigger ? kIirTimeout : kIirReceived;
  }
  if ((r.ier & kIerTransmitEmpty) != 0 && r.thre_pending != 0) return kIirTransmitEmpty;
  if ((r.ier & kIerModemStatus) != 0 && r.msr_deltas != 0) return kIirModemStatus;
  return kIirNone;
}

// On a PC, OUT2 connects the chip's interrupt output to the bus; loopback turns OUT2 off.
void Serial::update_line() {
  const bool connected = (registers_.mcr & (kMcrOut2 | kMcrLoop)) == kMcrOut2;
  const bool high = connected && interrupt_id() != kIirNone;
  if (high == line_high_) return;
  line_high_ = high;
  line_.set_level(high);
}

bool Serial::take_input_ready() {
  if (!refused_input_ || receiver_.count > 0 || loopback()) return false;
  refused_input_ = false;
  return true;
}

std::uint8_t Serial::read_rbr() {
  const auto byte = std::to_integer<std::uint8_t>(receiver_.pop());
  update_line();
  return byte;
}

// Reading the transmitter's interrupt, and only that, takes it back.
std::uint8_t Serial::read_iir() {
  const std::uint8_t id = interrupt_id();
  if (id == kIirTransmitEmpty) {
    registers_.thre_pending = 0;
    update_line();
  }
  return static_cast<std::uint8_t>(id | (fifo_enabled() ? kIirFifos : 0));
}

std::uint8_t Serial::read_lsr() {
  const std::uint8_t ready = receiver_.count > 0 ? kLsrDataReady : 0;
  const auto value =
      static_cast<std::uint8_t>(kLsrTransmitterEmpty | ready | registers_.lsr_errors);
  registers_.lsr_errors = 0;
  update_line();
  return value;
}

std::uint8_t Serial::read_msr() {
  const auto value = static_cast<std::uint8_t>(modem_status() | registers_.msr_deltas);
  registers_.msr_deltas = 0;
  update_line();
  return value;
}

std::uint8_t Serial::read_register(std::uint64_t offset) {
  switch (offset) {
    case kData:
      return dlab() ? registers_.dll : read_rbr();
    case kIer:
      return dlab() ? registers_.dlm : registers_.ier;
    case kIirFcr:
      return read_iir();
    case kLcr:
      return registers_.lcr;
    case kMcr:
      return registers_.mcr;
    case kLsr:
      return read_lsr();
    case kMsr:
      return read_msr();
    case kScr:
      return registers_.scr;
    default:
      return 0xff;
  }
}

// The write takes the interrupt back, and the byte's departure, at once, raises it again. Both
// edges count: a driver may answer each interrupt with a byte, and never read IIR.
std::optional<std::byte> Serial::write_thr(std::uint8_t value) {
  registers_.thre_pending = 0;
  update_line();
  registers_.thre_pending = 1;
  const bool looped = loopback();
  if (looped && receiver_.count < capacity()) {
    receiver_.push(std::byte{value});
  } else if (looped) {
    registers_.lsr_errors |= kLsrOverrun;
  }
  update_line();
  return looped ? std::nullopt : std::optional(std::byte{value});
}

// Enabling the interrupt while the transmitter is empty raises it, each time: Linux and FreeBSD
// both start to send that way, and Linux looks for chips that do not (UART_BUG_THRE).
void Serial::write_ier(std::uint8_t value) {
  const std::uint8_t risen = value & static_cast<std::uint8_t>(~registers_.ier);
  registers_.ier = value & kIerAll;
  if ((risen & kIerTransmitEmpty) != 0) registers_.thre_pending = 1;
  update_line();
}

void Serial::write_fcr(std::uint8_t value) {
  const bool enable = (value & kFcrEnable) != 0;
  // The other bits count only while FIFOs are on; switching clears them.
  if (enable != fifo_enabled() || (enable && (value & kFcrClearReceiver) != 0)) receiver_ = {};
  registers_.fcr = enable ? value & (kFcrEnable | kFcrTrigger) : std::uint8_t{0};
  update_line();
}

void Serial::write_mcr(std::uint8_t value) {
  const std::uint8_t before = modem_status();
  registers_.mcr = value & kMcrAll;
  const std::uint8_t after = modem_status();
  const auto changed = static_cast<std::uint8_t>(before ^ after);
  // The deltas of CTS, DSR and DCD lie four bits below them; RI counts only when it ends.
  registers_.msr_deltas |= (changed & (kMsrCts | kMsrDsr | kMsrDcd)) >> 4U;
  if ((changed & before & kMsrRi) != 0) registers_.msr_deltas |= kMsrRingEnded;
  update_line();
}

std::optional<std::byte> Serial::write_register(std::uint64_t offset, std::uint8_t value) {
  switch (offset) {
    case kData:
      if (!dlab()) return write_thr(value);
      registers_.dll = value;
      break;
    case kIer:
      if (dlab()) {
        registers_.dlm = value;
      } else {
        write_ier(value);
      }
      break;
    case kIirFcr:
      write_fcr(value);
      break;
    case kLcr:
      registers_.lcr = value;
      break;
    case kMcr:
      write_mcr(value);
      break;
    case kScr:
      registers_.scr = value;
      break;
    default:  // LSR and MSR are for reading
      break;
  }
  return std::nullopt;
}

// The backend is called without our lock: it takes its own, which it may hold when it calls us.
void Serial::read(std::uint64_t offset, std::span<std::byte> bytes) {
  bool ready = false;
  {
    MutexLock lock(mutex_);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte{read_register(offset + i)};
    ready = take_input_ready();
  }
  if (ready) console_.input_ready(kPort);
}

void Serial::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  std::optional<std::byte> sent;
  bool ready = false;
  {
    MutexLock lock(mutex_);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const auto byte = write_register(offset + i, std::to_integer<std::uint8_t>(bytes[i]));
      if (byte) sent = byte;  // at most once: only the first register transmits
    }
    ready = take_input_ready();
  }
  if (sent) console_.write(kPort, std::span(&*sent, 1));
  if (ready) console_.input_ready(kPort);
}

std::size_t Serial::receive(std::span<const std::byte> bytes) {
  MutexLock lock(mutex_);
  const std::size_t room = loopback() ? 0 : capacity() - receiver_.count;
  const std::size_t taken = std::min(room, bytes.size());
  for (std::byte byte : bytes.first(taken)) receiver_.push(byte);
  if (taken < bytes.size()) refused_input_ = true;
  update_line();
  return taken;
}

bool Serial::plausible(const Registers& registers, const Receiver& receiver) {
  const bool fifos = (registers.fcr & kFcrEnable) != 0;
  const unsigned fcr_bits = fifos ? kFcrEnable | kFcrTrigger : 0U;
  return (registers.ier & ~kIerAll) == 0 && (registers.fcr & ~fcr_bits) == 0 &&
         (registers.mcr & ~kMcrAll) == 0 && (registers.lsr_errors & ~kLsrOverrun) == 0 &&
         (registers.msr_deltas & ~kMsrDeltas) == 0 && registers.thre_pending <= 1 &&
         receiver.count <= (fifos ? kFifoBytes : 1);
}

void Serial::save(StateWriter& writer) const {
  static_assert(sizeof(Registers) == 10 && sizeof(Receiver) == kFifoBytes + 1);  // bytes only
  MutexLock lock(mutex_);
  writer.put(kStateVersion);
  writer.put(registers_);
  writer.put(receiver_);
}

Result<void> Serial::restore(StateReader& reader) {
  if (TRY(reader.get<std::uint32_t>()) != kStateVersion) {
    return Error{Errc::kUnsupported, 0, "state of the serial port: other version"};
  }
  const auto registers = TRY(reader.get<Registers>());
  const auto receiver = TRY(reader.get<Receiver>());
  if (!plausible(registers, receiver)) {
    return Error{Errc::kMalformed, 0, "state of the serial port: impossible values"};
  }
  MutexLock lock(mutex_);
  registers_ = registers;
  receiver_ = receiver;
  refused_input_ = false;
  // The line's level is not part of our state: set it whatever it was.
  line_high_ = false;
  line_.set_level(false);
  update_line();
  return {};
}

}  // namespace bulkhead
