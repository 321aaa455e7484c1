// SPDX-License-Identifier: Apache-2.0
#include "kvm/kick.h"

#include <csignal>

namespace bulkhead::kvm {

namespace {

// What this thread runs. Written by the thread itself, read by its signal handler.
constinit thread_local const Vcpu* volatile t_vcpu = nullptr;

// With SA_RESTART the thread's other system calls do not notice; KVM_RUN answers EINTR all the
// same.
void on_kick(int) {
  const Vcpu* vcpu = t_vcpu;
  if (vcpu != nullptr) vcpu->request_exit();
}

int kick_signal() {
  return SIGRTMIN;
}

}  // namespace

Result<void> install_kick_signal() {
  struct sigaction action{};
  action.sa_handler = on_kick;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  if (::sigaction(kick_signal(), &action, nullptr) != 0) return os_error("cannot install a signal");
  return {};
}

VcpuKick::Attachment::Attachment(VcpuKick& kick) : kick_(kick) {
  t_vcpu = &kick.vcpu_;
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, kick_signal());
  CHECK(::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr) == 0);
  MutexLock lock(kick_.mutex_);
  CHECK(!kick_.attached_);
  kick_.thread_ = ::pthread_self();
  kick_.attached_ = true;
}

VcpuKick::Attachment::~Attachment() {
  {
    MutexLock lock(kick_.mutex_);
    kick_.attached_ = false;
  }
  // A signal already on its way finds nothing to do.
  t_vcpu = nullptr;
}

void VcpuKick::kick() {
  vcpu_.request_exit();
  MutexLock lock(mutex_);
  if (attached_) CHECK(::pthread_kill(thread_, kick_signal()) == 0);
}

}  // namespace bulkhead::kvm
