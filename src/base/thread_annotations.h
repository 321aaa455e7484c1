// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>

// Names for clang's -Wthread-safety; nothing for other compilers.
#if defined(__clang__)
#define BULKHEAD_ATTRIBUTE(x) __attribute__((x))
#else
#define BULKHEAD_ATTRIBUTE(x)
#endif

#define CAPABILITY(x) BULKHEAD_ATTRIBUTE(capability(x))
#define SCOPED_CAPABILITY BULKHEAD_ATTRIBUTE(scoped_lockable)
#define GUARDED_BY(x) BULKHEAD_ATTRIBUTE(guarded_by(x))
#define REQUIRES(...) BULKHEAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) BULKHEAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...) BULKHEAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define RELEASE(...) BULKHEAD_ATTRIBUTE(release_capability(__VA_ARGS__))

namespace bulkhead {

// std::mutex that the thread-safety analysis knows.
class CAPABILITY("mutex") Mutex {
 public:
  void lock() ACQUIRE() { mutex_.lock(); }
  void unlock() RELEASE() { mutex_.unlock(); }
  std::mutex& native() { return mutex_; }

 private:
  std::mutex mutex_;
};

class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace bulkhead
