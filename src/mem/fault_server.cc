// SPDX-License-Identifier: Apache-2.0
#include "mem/fault_server.h"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace bulkhead {
namespace {

// Few, so that servers share a burst of faults.
constexpr std::size_t kBatch = 4;

}  // namespace

std::uint64_t FaultStreams::next(PageIndex page, std::uint64_t& went_on) {
  const MutexLock lock(mutex_);
  for (Stream& stream : streams_) {
    const std::uint64_t distance = page - stream.last;
    if (stream.window == 0 || distance == 0 || distance > stream.window) continue;
    went_on = distance - 1;
    stream = {page, std::min(2 * stream.window, ColdRange::kMaxRun)};
    return stream.window;
  }
  went_on = 0;
  streams_[oldest_] = {page, 1};
  oldest_ = (oldest_ + 1) % streams_.size();
  return 1;
}

Result<std::unique_ptr<FaultServer>> FaultServer::start(const Parts& parts) {
  ScratchPages scratch = TRY(ScratchPages::create());
  Fd stop = TRY(Fd::event());
  std::unique_ptr<FaultServer> server(new FaultServer(parts, std::move(scratch), std::move(stop)));
  server->thread_ = TRY(Thread::start(
      "cold-fault", [](void* self) { static_cast<FaultServer*>(self)->run(); }, server.get()));
  return server;
}

FaultServer::~FaultServer() {
  signal_event(stop_.get());
  thread_.join();
}

// A fault wakes all servers, and all but one find nothing. That is worth its price: the one on the
// processor that the faulting thread has just left runs at once, where a single chosen one may be
// on a busy or sleeping processor. (Measured with epoll waking one: half the speed or less, worst
// on a busy machine.)
void FaultServer::run() {
  std::array<pollfd, 2> polled{{{.fd = core_.userfault.fd(), .events = POLLIN, .revents = 0},
                                {.fd = stop_.get(), .events = POLLIN, .revents = 0}}};
  while (::poll(polled.data(), polled.size(), -1) >= 0 || errno == EINTR) {
    if (polled[1].revents != 0) return;
    const MutexLock lock(gate_);
    std::array<PageFault, kBatch> faults;
    const std::size_t count = core_.userfault.take(faults);
    for (std::size_t i = 0; i < count; ++i) serve(faults[i]);
  }
}

// Decides by the state of the page alone. A fault may be old news: another server may have served
// the same page meanwhile, and it may even have been sealed again. Serving it once more than needed
// does no harm, and who waits is woken at least once after the page has changed for the last time.
void FaultServer::serve(const PageFault& fault) {
  if (core_.held) return;  // ColdMemory::resume() wakes all
  const ColdRangeUse range = core_.ranges.find(fault.page);
  if (!range) {  // about to come, or just gone
    core_.userfault.wake({fault.page, kPageSize});
    return;
  }
  const std::uint64_t page = range->page_at(fault.page);
  const PageState seen = range->states().state(page);
  if (seen == PageState::kSealed || seen == PageState::kUntouched) evictor_.make_room(1);
  const std::optional<PageState> before = range->states().take_or_want(page);
  if (!before) {
    ++core_.counters.waits;
    return;
  }
  const PageState after = resolve(*range, page, *before, fault.write);
  if (is_aged(*before)) range->states().heat(page);
  core_.finish(*range, page, *before, after);
  if (after == PageState::kFailed && core_.released) core_.condemn(*range, page);
  if (*before == PageState::kSealed && is_resident(after)) prefetch(*range, page, fault.write);
}

PageState FaultServer::resolve(ColdRange& range, std::uint64_t page, PageState state, bool write) {
  switch (state) {
    case PageState::kUntouched:
      ++core_.counters.zero_faults;
      return populate(range, page);
    case PageState::kDirty:
    case PageState::kAgedDirty:
      return map_dirty(range, page, state);
    case PageState::kClean:
    case PageState::kAgedClean:
      return map_clean(range, page, state, write);
    case PageState::kSealed:
      ++core_.counters.open_faults;
      return open(range, page, write);
    case PageState::kFailed:
      return state;
    case PageState::kBusy:
      break;
  }
  std::unreachable();
}

PageState FaultServer::map_dirty(ColdRange& range, std::uint64_t page, PageState state) {
  const Hva address = range.host(page).start;
  if (is_aged(state)) ++core_.counters.aged_faults;
  switch (core_.userfault.map(address, UserFault::Access::kWritable)) {
    case UserFault::Outcome::kDone:
      return PageState::kDirty;
    case UserFault::Outcome::kPresent:
      core_.userfault.unprotect(address);  // wakes, too
      return PageState::kDirty;
    case UserFault::Outcome::kAbsent:
      fail(range.index(page), {Errc::kMalformed, 0, "a page of the memory file is gone"});
      return PageState::kFailed;
    case UserFault::Outcome::kFailed:
      try_again(range, page);
      return state;
  }
  std::unreachable();
}

// The copy is forgotten before the first write can happen: the vault never has an old page while
// the guest has a newer one.
PageState FaultServer::map_clean(ColdRange& range, std::uint64_t page, PageState state,
                                 bool write) {
  const bool aged = is_aged(state);
  if (write) {
    ++core_.counters.write_faults;
    core_.vault.forget(range.index(page));
    if (aged) return map_dirty(range, page, PageState::kAgedDirty);
    core_.userfault.unprotect(range.host(page).start);
    return PageState::kDirty;
  }
  if (aged) ++core_.counters.aged_faults;
  switch (core_.userfault.map(range.host(page).start, access_of(PageState::kClean))) {
    case UserFault::Outcome::kPresent:
      core_.userfault.wake(range.host(page));
      return PageState::kClean;
    case UserFault::Outcome::kDone:
      return PageState::kClean;
    case UserFault::Outcome::kAbsent:
      return open(range, page, write);
    case UserFault::Outcome::kFailed:
      try_again(range, page);
      return state;
  }
  std::unreachable();
}

PageState FaultServer::populate(const ColdRange& range, std::uint64_t page) {
  const Hva address = range.host(page).start;
  UserFault::Outcome outcome = core_.userfault.zero(address);
  // A huge page that could not be split keeps the pages freed from it, as zeroes.
  if (outcome == UserFault::Outcome::kPresent) {
    outcome = core_.userfault.map(address, UserFault::Access::kWritable);
  }
  if (outcome == UserFault::Outcome::kDone) return PageState::kDirty;
  try_again(range, page);
  return PageState::kUntouched;
}

PageState FaultServer::opened_as(bool write) const {
  return write || !core_.keeps_copies ? PageState::kDirty : PageState::kClean;
}

UserFault::Access FaultServer::access_of(PageState state) const {
  const bool clean = state == PageState::kClean && !core_.sabotage.lose_protection;
  return clean ? UserFault::Access::kProtected : UserFault::Access::kWritable;
}

PageState FaultServer::open(ColdRange& range, std::uint64_t page, bool write) {
  if (!fetch(range, page, 0)) return PageState::kFailed;
  const PageState as = opened_as(write);
  const bool installed = install(range, page, 0, as);
  scratch_.wipe(0, 1);
  if (!installed) {
    try_again(range, page);
    return PageState::kSealed;
  }
  if (as == PageState::kDirty) core_.vault.forget(range.index(page));
  return as;
}

void FaultServer::prefetch(ColdRange& range, std::uint64_t page, bool write) {
  if (streams_ == nullptr) return;
  std::uint64_t went_on = 0;
  const std::uint64_t window = streams_->next(range.index(page), went_on);
  core_.counters.prefetch_hits += went_on;
  const std::uint64_t first = page + 1;
  const std::uint64_t count = std::min({window - 1, range.count() - first, evictor_.room()});
  const std::uint64_t fetched = fetch_run(range, first, count);
  if (fetched == 0) return;
  const PageState as = opened_as(write);
  std::uint64_t copied = 0;
  core_.userfault.copy(range.host(first, fetched), scratch_.address(0), access_of(as), copied);
  for (std::uint64_t i = 0; i < fetched; ++i) {
    const bool installed = i < copied / kPageSize || install(range, first + i, i, as);
    if (installed && as == PageState::kDirty) core_.vault.forget(range.index(first + i));
    core_.finish(range, first + i, PageState::kSealed, installed ? as : PageState::kSealed);
    if (installed) ++core_.counters.prefetched;
  }
  scratch_.wipe(0, fetched);
}

// Makes sealed pages busy and gets them, until one is not sealed or fails.
std::uint64_t FaultServer::fetch_run(ColdRange& range, std::uint64_t first, std::uint64_t count) {
  const auto sealed = [](PageState state, bool) { return state == PageState::kSealed; };
  for (std::uint64_t i = 0; i < count; ++i) {
    if (!range.states().take_if(first + i, sealed)) return i;
    if (fetch(range, first + i, i)) continue;
    core_.finish(range, first + i, PageState::kSealed, PageState::kFailed);
    return i;
  }
  return count;
}

bool FaultServer::fetch(const ColdRange& range, std::uint64_t page, std::uint64_t slot) {
  const Result<void> got = core_.vault.get(range.index(page), scratch_.page(slot));
  if (got) return true;
  scratch_.wipe(slot, 1);
  fail(range.index(page), got.error());
  return false;
}

bool FaultServer::install(const ColdRange& range, std::uint64_t page, std::uint64_t slot,
                          PageState as) {
  std::uint64_t copied = 0;
  UserFault::Outcome outcome =
      core_.userfault.copy(range.host(page), scratch_.address(slot), access_of(as), copied);
  // As in populate(). Nobody has the page mapped, so nobody sees it half written.
  if (outcome == UserFault::Outcome::kPresent && range.overwrite(page, scratch_.page(slot))) {
    outcome = core_.userfault.map(range.host(page).start, access_of(as));
  }
  return outcome == UserFault::Outcome::kDone;
}

void FaultServer::fail(PageIndex page, Error error) {
  ++core_.counters.integrity_failures;
  log_failure("cold.integrity", error, {{"page", page}});
  core_.observer.integrity_failed(page, error);
}

// The host is out of memory, for now perhaps. The thread faults again; not at once.
void FaultServer::try_again(const ColdRange& range, std::uint64_t page) {
  core_.host_failed("cold.map_failed", os_error("cannot map a page of guest memory"));
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  core_.userfault.wake(range.host(page));
}

}  // namespace bulkhead
