// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

#include <cerrno>

namespace bulkhead {

const char* to_string(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument:
      return "invalid_argument";
    case Errc::kOutOfRange:
      return "out_of_range";
    case Errc::kMalformed:
      return "malformed";
    case Errc::kTruncated:
      return "truncated";
    case Errc::kUnsupported:
      return "unsupported";
    case Errc::kNotFound:
      return "not_found";
    case Errc::kExists:
      return "exists";
    case Errc::kExhausted:
      return "exhausted";
    case Errc::kPermission:
      return "permission";
    case Errc::kBusy:
      return "busy";
    case Errc::kTimeout:
      return "timeout";
    case Errc::kRolledBack:
      return "rolled_back";
    case Errc::kClosed:
      return "closed";
    case Errc::kIo:
      return "io";
  }
  return "unknown";
}

Error os_error(const char* what) {
  return os_error(errno, what);
}

Error os_error(int error_number, const char* what) {
  Errc code = Errc::kIo;
  switch (error_number) {
    case EINVAL:
      code = Errc::kInvalidArgument;
      break;
    case ENOENT:
      code = Errc::kNotFound;
      break;
    case EEXIST:
      code = Errc::kExists;
      break;
    case ENOMEM:
    case ENOSPC:
    case EMFILE:
    case ENFILE:
    case EDQUOT:
      code = Errc::kExhausted;
      break;
    case EPERM:
    case EACCES:
      code = Errc::kPermission;
      break;
    case EBUSY:
    case EAGAIN:
      code = Errc::kBusy;
      break;
    case EPIPE:
    case ECONNRESET:
      code = Errc::kClosed;
      break;
    case ENOSYS:
    case EOPNOTSUPP:
    case ENOTTY:
      code = Errc::kUnsupported;
      break;
    default:
      break;
  }
  return Error{code, error_number, what};
}

}  // namespace bulkhead
