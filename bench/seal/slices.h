// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sched.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <span>
#include <thread>
#include <vector>

#include "contestant.h"

namespace bulkhead::bench {

struct Slice {
  double wall_ns = 0;      // from the first thread's start to the last one's end
  double cpu_ns = 0;       // of all threads
  bool disturbed = false;  // some thread had to leave its processor to others, or began late
};

inline double clock_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

inline long involuntary_switches() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nivcsw;
}

// Works through `pages` in their order, each slice going on where the last one ended.
class SliceRunner {
 public:
  SliceRunner(std::span<const std::uint64_t> pages, std::size_t first)
      : pages_(pages), position_(first) {}

  // Each thread handles `count` pages of its own.
  Slice run(Contestant& contestant, unsigned threads, std::size_t count) {
    std::vector<Part> parts(threads);
    std::atomic<unsigned> ready = 0;
    const auto work = [&](unsigned thread) {
      pin(thread);
      ready.fetch_add(1);
      // So that all begin together; waking a thread up takes longer than many pages.
      while (ready.load() < threads) {
      }
      parts[thread] = run_part(contestant, thread, threads, count);
    };
    std::vector<std::jthread> helpers;
    for (unsigned thread = 1; thread < threads; ++thread) helpers.emplace_back(work, thread);
    work(0);
    helpers.clear();
    position_ += count;
    return sum(parts);
  }

 private:
  struct Part {
    double start = 0, end = 0, cpu = 0;
    long switches = 0;
  };

  // Each on a processor of its own, so that moving between them is not measured.
  static void pin(unsigned thread) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(thread, &set);
    [[maybe_unused]] const int ignored = ::sched_setaffinity(0, sizeof set, &set);
  }

  Part run_part(Contestant& contestant, unsigned thread, unsigned threads, std::size_t count) {
    // Each thread has its own stretch of the order: no two handle one page at once.
    const std::size_t stretch = pages_.size() / threads;
    Part part;
    const long switches = involuntary_switches();
    part.start = clock_ns(CLOCK_MONOTONIC);
    const double cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (std::size_t i = 0; i < count; ++i) {
      contestant.page(thread, pages_[thread * stretch + (position_ + i) % stretch]);
    }
    if (thread == 0) contestant.finish();
    part.cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
    part.end = clock_ns(CLOCK_MONOTONIC);
    part.switches = involuntary_switches() - switches;
    return part;
  }

  static Slice sum(const std::vector<Part>& parts) {
    Slice slice;
    double start = parts[0].start;
    double end = parts[0].end;
    double last_start = start;
    for (const Part& part : parts) {
      start = std::min(start, part.start);
      end = std::max(end, part.end);
      last_start = std::max(last_start, part.start);
      slice.cpu_ns += part.cpu;
      slice.disturbed |= part.switches > 0;
    }
    slice.wall_ns = end - start;
    constexpr double kLate = 0.02;
    slice.disturbed |= last_start - start > kLate * slice.wall_ns;
    return slice;
  }

  std::span<const std::uint64_t> pages_;
  std::size_t position_;
};

}  // namespace bulkhead::bench
