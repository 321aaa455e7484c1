// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "devices/tpm.h"

namespace bulkhead {

// Whether the program is the bulkhead-vtpm in the directory, which only root, or who we are, can
// write to. The keys of any other TPM are not ours to have certified: it may say what its maker
// likes.
bool is_own_tpm(int program_fd, const std::string& directory);
// The directory of our own program.
std::string own_directory();

// Has the keys of the partition's TPM certified by the bulkheadd that listens there, and puts the
// certificates into the TPM, for the guest to read. Before the guest is started, and before the
// platform's authority is given up. On an error there are none in the TPM, not even older ones.
Result<void> certify_tpm(Tpm& tpm, const std::string& daemon_socket);

// No certificates, as nobody is there to issue them: those of another time are removed.
Result<void> leave_uncertified(Tpm& tpm);

}  // namespace bulkhead
