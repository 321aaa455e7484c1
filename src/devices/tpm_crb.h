// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/address.h"
#include "base/thread.h"
#include "base/thread_annotations.h"
#include "devices/bus.h"
#include "devices/state.h"
#include "devices/tpm.h"

namespace bulkhead {

// Where the interface lies: a page for each locality (TCG PC Client Platform TPM Profile 1.05,
// "CRB Interface"). The addresses are for the ACPI tables, too.
namespace tpm_crb {

inline constexpr Gpa kBase{0xfed40000};
inline constexpr std::uint64_t kLocalityBytes = 0x1000;
inline constexpr std::uint64_t kBytes = kTpmLocalities * kLocalityBytes;
inline constexpr Gpa kControlArea = kBase + 0x40;

}  // namespace tpm_crb

// The Command Response Buffer interface in front of a TPM, polled: it raises no interrupts.
// Commands run on a thread of the device's own, so that no vCPU stands still for one. Locality 4 is
// the hardware's (PTP, "Locality Usage"): it can be looked at, but no software gets it.
class TpmCrb final : public BusDevice, public Stateful {
 public:
  // `tpm` outlives the device.
  static Result<std::unique_ptr<TpmCrb>> create(Tpm& tpm);
  // Cancels the command under way, and waits for its end.
  ~TpmCrb() override;

  std::string_view name() const override { return "tpm-crb"; }
  void read(std::uint64_t offset, std::span<std::byte> bytes) override EXCLUDES(mutex_);
  void write(std::uint64_t offset, std::span<const std::byte> bytes) override EXCLUDES(mutex_);

  // Waits for the end of the command under way. Quiet until the next access.
  void quiesce() EXCLUDES(mutex_);
  void save(StateWriter& writer) const override EXCLUDES(mutex_);
  Result<void> restore(StateReader& reader) override EXCLUDES(mutex_);

 private:
  // PTP, "CRB Interface State Machine". Reception is Ready with a part of the command there.
  enum class State : std::uint8_t { kIdle, kReady, kExecution, kCompletion };
  using Buffer = std::array<std::byte, kTpmBufferBytes>;
  struct Command {
    TpmLocality locality = TpmLocality::k0;
    std::size_t length = 0;
    bool cancelled = false;  // before it began
  };

  // What a snapshot says, which may be anything.
  struct Saved {
    std::uint8_t state = 0;
    std::uint8_t active = 0;
    std::uint8_t wanted = 0;
    std::uint8_t seized = 0;
    std::uint8_t cancel = 0;
    std::uint8_t fatal = 0;

    bool possible() const;
  };

  explicit TpmCrb(Tpm& tpm) : tpm_(tpm) {}
  static Result<Saved> read_saved(StateReader& reader);

  std::uint8_t read_byte(std::uint64_t locality, std::uint64_t offset) const REQUIRES(mutex_);
  std::uint32_t read_register(std::uint64_t locality, std::uint64_t offset) const REQUIRES(mutex_);
  void write_byte(std::uint64_t locality, std::uint64_t offset, std::uint8_t value)
      REQUIRES(mutex_);
  void control_locality(std::uint64_t locality, std::uint8_t value) REQUIRES(mutex_);
  void leave_locality() REQUIRES(mutex_);
  void enter_next_locality() REQUIRES(mutex_);
  void request_state(std::uint8_t value) REQUIRES(mutex_);
  void make_ready() REQUIRES(mutex_);
  void cancel(std::uint8_t value) REQUIRES(mutex_);
  void start() REQUIRES(mutex_);
  bool is_active(std::uint64_t locality) const REQUIRES(mutex_);

  static void work(void* device);
  std::optional<Command> next_command() EXCLUDES(mutex_);
  Result<std::size_t> execute(const Command& command);
  void complete(const Result<std::size_t>& length) EXCLUDES(mutex_);

  Tpm& tpm_;
  mutable Mutex mutex_;
  std::condition_variable_any changed_;
  State state_ GUARDED_BY(mutex_) = State::kIdle;
  std::optional<std::uint8_t> active_ GUARDED_BY(mutex_);  // the locality in use
  std::uint8_t wanted_ GUARDED_BY(mutex_) = 0;             // a bit for each that waits for it
  std::uint8_t seized_ GUARDED_BY(mutex_) = 0;             // a bit for each that lost it
  bool leaving_ GUARDED_BY(mutex_) = false;  // it goes to the next one when the command has ended
  bool cancel_ GUARDED_BY(mutex_) = false;   // CTRL_CANCEL
  bool fatal_ GUARDED_BY(mutex_) = false;    // the TPM does not answer, and never will
  bool begun_ GUARDED_BY(mutex_) = false;    // the thread has taken the command
  bool stopping_ GUARDED_BY(mutex_) = false;
  Buffer buffer_ GUARDED_BY(mutex_) = {};
  // The worker's alone, between next_command() and complete().
  Buffer command_{};
  Buffer response_{};
  Thread worker_;
};

}  // namespace bulkhead
