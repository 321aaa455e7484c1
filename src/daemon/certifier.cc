// SPDX-License-Identifier: Apache-2.0
#include "daemon/certifier.h"

#include <ctime>

namespace bulkhead::daemon {

using namespace hostca;

Result<std::unique_ptr<Certifier>> Certifier::create(EventLoop& loop, Open open) {
  std::unique_ptr<Certifier> certifier(new Certifier(std::move(open)));
  certifier->worker_ = TRY(Worker::create(loop, "certifier"));
  return certifier;
}

Result<void> Certifier::certify(PartitionKeys keys, Done done) {
  return worker_->run([this, keys = std::move(keys), done = std::move(done)]() mutable {
    return [made = make(keys), done = std::move(done)]() mutable { done(std::move(made)); };
  });
}

// After a failure everything is opened anew: the TPM may have been reset, and the certificate
// renewed.
Result<PartitionCertificates> Certifier::make(const PartitionKeys& keys) {
  if (ca_ == nullptr) ca_ = TRY(open_());
  Result<PartitionCertificates> made = ca_->certify(keys, ::time(nullptr));
  if (!made) ca_.reset();
  return made;
}

}  // namespace bulkhead::daemon
