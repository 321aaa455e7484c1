// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "host/survey.h"

namespace bulkhead::host {

// Exit codes of `bulkhead doctor`.
inline constexpr int kDoctorHardware = 0;  // partitions run here, on hardware KVM
inline constexpr int kDoctorLabOnly = 3;   // only in the lab: KVM is paravirtual, absent, or closed

// Surveys this machine, prints the report on standard output, and returns the exit code.
// `daemon_socket`: where bulkheadd listens.
int doctor_main(bool json, const std::string& daemon_socket);

// The report as aligned text; `unicode` chooses the marks. Ends with a line break.
std::string report_text(const Survey& survey, bool unicode);
// The same facts as one JSON object, for programs; keys only ever get added.
std::string report_json(const Survey& survey);
int doctor_exit_code(const Survey& survey);

}  // namespace bulkhead::host
