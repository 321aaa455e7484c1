// SPDX-License-Identifier: Apache-2.0
// bulkhead-vtpm: one partition's TPM. Started by the monitor, with everything that it may use as
// open descriptors: see protocol.h.

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <optional>

#include "base/log.h"
#include "seal/file_medium.h"
#include "vtpm/process/confine.h"
#include "vtpm/process/counter_file.h"
#include "vtpm/process/held_key.h"
#include "vtpm/process/server.h"
#include "vtpm/process/state_keeper.h"

namespace bulkhead::vtpm {
namespace {

constexpr int kUsage = 2;
constexpr int kFailed = 1;

// What a state at rest takes, in the order of dependency.
struct Lasting {
  FileMedium medium;
  std::unique_ptr<RemoteCounter> host;
  CounterFile counter;
  std::unique_ptr<SealedKeeper> keeper;
};

// A state without its counter, or the other way round, is not a new one.
Result<bool> is_fresh(FileMedium& medium, const CounterFile& counter) {
  const bool no_state = medium.size() == 0;
  if (no_state && !TRY(counter.empty())) {
    return Error{Errc::kRolledBack, 0, "the TPM's state is missing, its counter is not"};
  }
  return no_state;
}

// What there is to keep a state with, looked at before most system calls are forbidden.
struct Given {
  std::optional<HeldKey> key;  // none: there is no state to keep
  bool host_counter = false;
};

Result<Given> look_at_descriptors() {
  Given given;
  if (::fcntl(kStateFd, F_GETFD) >= 0) given.key = TRY(HeldKey::read(kKeyFd));
  ::close(kKeyFd);
  given.host_counter = ::fcntl(kHostCounterFd, F_GETFD) >= 0;
  return given;
}

Result<void> open_state(std::optional<Lasting>& lasting, Given& given) {
  HeldKey& key = *given.key;
  FileMedium medium = TRY(FileMedium::adopt(Fd(kStateFd), FileMedium::Access::kWrite));
  const SecretBytes held = TRY(key.key());
  std::unique_ptr<RemoteCounter> host;
  if (given.host_counter) {
    host = std::make_unique<RemoteCounter>(TRY(RemoteCounter::create(kHostCounterFd, held)));
  }
  CounterFile counter = TRY(CounterFile::create(Fd(kCounterFd), held, host.get()));
  const bool fresh = TRY(is_fresh(medium, counter));
  lasting.emplace(std::move(medium), std::move(host), std::move(counter), nullptr);
  lasting->keeper = TRY(SealedKeeper::create(
      {.medium = lasting->medium, .key = key, .counter = lasting->counter}, fresh));
  return key.erase();
}

Result<void> serve(Server& server, Given& given) {
  NoKeeper none;
  std::optional<Lasting> lasting;
  if (given.key) {
    if (Result<void> opened = open_state(lasting, given); !opened) {
      return server.refuse(opened.error());
    }
  }
  StateKeeper& keeper = lasting ? static_cast<StateKeeper&>(*lasting->keeper) : none;
  auto engine = TpmEngine::create(keeper);
  if (!engine) return server.refuse(engine.error());
  return server.run(**engine);
}

Result<void> run(int parent_pid) {
  TRY(harden(parent_pid));
  // Started by a descriptor, it would be called by its number.
  ::prctl(PR_SET_NAME, "bulkhead-vtpm");
  ::close_range(kHostCounterFd + 1, ~0U, 0);
  // Its configuration file is none of ours.
  OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, nullptr);
  Given given = TRY(look_at_descriptors());
  const auto server = TRY(Server::create(kSocketFd));
  TRY(confine());
  return serve(*server, given);
}

}  // namespace
}  // namespace bulkhead::vtpm

int main(int argc, char** argv) {
  using namespace bulkhead;
  int parent = 0;
  const char* end = argc == 2 ? argv[1] + std::strlen(argv[1]) : nullptr;
  if (argc != 2 || std::from_chars(argv[1], end, parent).ptr != end || parent <= 0) {
    std::fprintf(stderr, "bulkhead-vtpm: started by bulkhead-vmm; see `bulkhead run --help`\n");
    return vtpm::kUsage;
  }
  const Result<void> served = vtpm::run(parent);
  if (!served) log_failure("vtpm_ended", served.error());
  // Straight to the kernel: exit handlers are not on the list of allowed calls.
  ::_exit(served ? 0 : vtpm::kFailed);
}
