// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>

#include "base/result.h"
#include "base/thread_annotations.h"
#include "kvm/vcpu.h"

namespace bulkhead::kvm {

// Installs the handler of the kick signal (SIGRTMIN), once per process, before any kick().
Result<void> install_kick_signal();

// Gets a vCPU out of KVM_RUN from another thread, even one that loops in the kernel. The signal
// ends a KVM_RUN under way; one that arrives just before KVM_RUN finds immediate_exit set, so that
// no kick is lost. Set what you request first, kick then: the vCPU's thread looks after
// Interrupted.
class VcpuKick {
 public:
  // `vcpu` outlives this object.
  explicit VcpuKick(const Vcpu& vcpu) : vcpu_(vcpu) {}
  VcpuKick(const VcpuKick&) = delete;
  VcpuKick& operator=(const VcpuKick&) = delete;

  // The thread that made it is the one that runs the vCPU, as long as this object lives.
  class Attachment {
   public:
    explicit Attachment(VcpuKick& kick);
    ~Attachment();
    Attachment(const Attachment&) = delete;
    Attachment& operator=(const Attachment&) = delete;

   private:
    VcpuKick& kick_;
  };

  // From any thread, not from a signal handler. Without an attached thread it still makes the next
  // run() answer Interrupted.
  void kick() EXCLUDES(mutex_);

 private:
  const Vcpu& vcpu_;
  Mutex mutex_;  // a thread that has ended must not be signalled
  pthread_t thread_ GUARDED_BY(mutex_){};
  bool attached_ GUARDED_BY(mutex_) = false;
};

}  // namespace bulkhead::kvm
