// SPDX-License-Identifier: Apache-2.0
// A hostile guest at the grant device, and grantees that try what they were not given: register
// accesses of any kind, restores. A map of pages, kept beside the device from what its registers
// answered, says after each step what the grantees may reach.

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>

#include "base/byte_reader.h"
#include "base/check.h"
#include "base/log.h"
#include "devices/fakes_for_test.h"
#include "devices/grant_device.h"
#include "devices/memory_grants.h"

namespace bulkhead {
namespace {

using namespace grant_device;

constexpr std::uint64_t kMemory = 64 * kMiB;

class Session {
 public:
  explicit Session(GuestMemory& memory) : grants_(memory), registers_(grants_) {}

  Result<void> step(ByteReader& input);

 private:
  Result<void> access(ByteReader& input);
  Result<void> grant(ByteReader& input);
  Result<void> revoke(ByteReader& input);
  Result<void> query(ByteReader& input);
  Result<void> restore(ByteReader& input);
  void learn();
  void check(std::uint8_t page);

  template <class T>
  T get(std::uint64_t offset) {
    return device_read<T>(registers_, offset);
  }
  template <class T>
  void put(std::uint64_t offset, T value) {
    device_write<T>(registers_, offset, value);
  }
  Status run(Command command) {
    put(kCommandRegister, static_cast<std::uint32_t>(command));
    return Status{get<std::uint32_t>(kStatusRegister)};
  }

  MemoryGrants grants_;
  GrantRegisters registers_;
  std::map<std::uint32_t, Grant> model_;
};

Result<void> Session::access(ByteReader& input) {
  const auto choice = TRY(input.read<std::uint8_t>());
  const std::uint64_t offset = TRY(input.read<std::uint16_t>()) % kBarBytes;
  const std::size_t size = std::min<std::uint64_t>(choice % 8 + 1, kBarBytes - offset);
  if (choice % 16 < 8) {
    std::array<std::byte, 8> bytes{};
    registers_.read(offset, std::span(bytes).first(size));
  } else {
    registers_.write(offset, TRY(input.take(size)));
    learn();
  }
  return {};
}

// Small numbers, so that grants meet.
Result<void> Session::grant(ByteReader& input) {
  Grant wanted;
  wanted.first = Gfn(TRY(input.read<std::uint8_t>()));
  wanted.pages = TRY(input.read<std::uint8_t>()) % 16;
  const auto kind = TRY(input.read<std::uint8_t>());
  wanted.grantee = GranteeId{kind / 4U % 3};
  wanted.rights = {(kind & kRightRead) != 0, (kind & kRightWrite) != 0};
  put(kFirstRegister, wanted.first.value());
  put(kPagesRegister, wanted.pages);
  put(kGranteeRegister, static_cast<std::uint32_t>(wanted.grantee));
  put(kRightsRegister, std::uint32_t{kind} % 4);
  bool free = true;
  for (const auto& [handle, held] : model_) {
    const bool apart = wanted.end() <= held.first || held.end() <= wanted.first;
    free = free && (apart || held.grantee != wanted.grantee);
  }
  const bool good =
      free && wanted.pages > 0 && wanted.rights.any() && model_.size() < GrantTable::kCapacity;
  CHECK((run(Command::kGrant) == Status::kOk) == good);
  if (good) CHECK(model_.emplace(get<std::uint32_t>(kHandleRegister), wanted).second);
  return {};
}

Result<void> Session::revoke(ByteReader& input) {
  const std::uint32_t handle = TRY(input.read<std::uint8_t>());
  put(kHandleRegister, handle);
  CHECK((run(Command::kRevoke) == Status::kOk) == (model_.erase(handle) == 1));
  return {};
}

Result<void> Session::query(ByteReader& input) {
  const std::uint32_t handle = TRY(input.read<std::uint8_t>());
  put(kHandleRegister, handle);
  const auto expected = model_.lower_bound(handle);
  CHECK((run(Command::kQuery) == Status::kOk) == (expected != model_.end()));
  if (expected == model_.end()) return {};
  CHECK(get<std::uint32_t>(kHandleRegister) == expected->first);
  CHECK(get<std::uint64_t>(kFirstRegister) == expected->second.first.value());
  return {};
}

Result<void> Session::restore(ByteReader& input) {
  const auto length = TRY(input.read<std::uint8_t>());
  if (length == 0) {  // its own state changes nothing
    CHECK(restore_state(registers_, state_of(registers_)));
  } else if (restore_state(grants_, TRY(input.take(length)))) {
    CHECK(restore_state(grants_, state_of(grants_)));
  }
  learn();
  return {};
}

// What raw accesses and foreign states did is taken from the device itself.
void Session::learn() {
  model_.clear();
  for (auto held = grants_.next(GrantHandle::kNone); held;) {
    const auto handle = static_cast<std::uint32_t>(held->handle);
    CHECK(model_.emplace(handle, held->grant).second);
    held = handle + 1 == 0 ? std::nullopt : grants_.next(GrantHandle{handle + 1});
  }
  CHECK(model_.size() == grants_.count() && model_.size() <= GrantTable::kCapacity);
}

void Session::check(std::uint8_t page) {
  std::array<std::byte, 1> byte{};
  const Gpa address(page * kPageSize);
  for (std::uint32_t number = 0; number < 3; ++number) {
    GrantRights expected;
    for (const auto& [handle, held] : model_) {
      const bool covers = held.first <= Gfn(page) && Gfn(page) < held.end();
      if (covers && held.grantee == GranteeId{number}) expected = held.rights;
    }
    CHECK(grants_.read(GranteeId{number}, address, byte).has_value() == expected.read);
    CHECK(grants_.write(GranteeId{number}, address, byte).has_value() == expected.write);
  }
}

Result<void> Session::step(ByteReader& input) {
  const auto command = TRY(input.read<std::uint8_t>());
  switch (command % 8) {
    case 0:
      TRY(access(input));
      break;
    case 1:
    case 2:
      TRY(revoke(input));
      break;
    case 3:
      TRY(query(input));
      break;
    case 4:
      TRY(command >= 192 ? restore(input) : Result<void>());
      break;
    default:
      TRY(grant(input));
  }
  check(command);
  return {};
}

}  // namespace
}  // namespace bulkhead

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bulkhead;
  static const auto memory = GuestMemory::create({.size_bytes = kMemory}).value();
  set_log_level(LogLevel::kError);
  ByteReader input(std::as_bytes(std::span(data, size)));
  Session session(*memory);
  while (session.step(input)) {
  }
  return 0;
}
